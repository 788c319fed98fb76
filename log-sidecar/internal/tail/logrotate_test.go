package tail

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The real logrotate rotates a log while it is followed, and while it is not.
func TestRotatedByLogrotate(t *testing.T) {
	program, err := exec.LookPath("logrotate")
	if err != nil {
		program = "/usr/sbin/logrotate" // not in the path of every user
	}
	if !exists(program) {
		t.Skip("logrotate is not installed (Debian package logrotate)")
	}
	for _, how := range []string{"copytruncate", "create", "create\ndateext\ndateformat -%Y%m%d-%s"} {
		t.Run(how, func(t *testing.T) {
			s, w := newLog(t, 0)
			config := filepath.Join(s.cfg.StateDir, "logrotate.conf")
			require.NoError(t, os.WriteFile(config, []byte(s.path+" {\nrotate 100\nmissingok\n"+how+"\n}\n"), 0o600))
			s.run()
			for i := range 8 {
				w.some(500)
				if i == 4 {
					s.wantSoon(w.lines)
					s.kill()
					w.some(500)
				}
				if strings.Contains(how, "%s") && i > 0 {
					// Its names have seconds; let the next one be another's.
					paths := siblings(t, s.path)
					require.NoError(t, os.Rename(paths[len(paths)-1], fmt.Sprintf("%s-20200101-%d", s.path, 1600000000+i)))
				}
				out, err := exec.Command(program, "-f", "-s", config+".state", config).CombinedOutput()
				require.NoError(t, err, string(out))
				if how != "copytruncate" {
					w.open()
				}
				if i == 4 {
					s.run()
				}
			}
			w.some(500)
			s.wantSoon(w.lines)
		})
	}
}
