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

func TestCopytruncateByLogrotate(t *testing.T) {
	logrotate(t, "copytruncate", func(*writer) {})
}

func TestRenameByLogrotate(t *testing.T) {
	logrotate(t, "create", (*writer).open)
}

func TestDatesByLogrotate(t *testing.T) {
	logrotate(t, "create\ndateext\ndateformat -%Y%m%d-%s", (*writer).open)
}

// logrotate rotates a log with the real logrotate while it is followed. reopen is
// what the writer does after it.
func logrotate(t *testing.T, how string, reopen func(*writer)) {
	program, err := exec.LookPath("logrotate")
	if err != nil {
		program = "/usr/sbin/logrotate" // not in the path of every user
	}
	if !exists(program) {
		t.Skip("logrotate is not installed (Debian package logrotate)")
	}
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
			require.NoError(t, os.Rename(lastSibling(t, s.path), fmt.Sprintf("%s-20200101-%d", s.path, 1600000000+i)))
		}
		out, err := exec.Command(program, "-f", "-s", config+".state", config).CombinedOutput()
		require.NoError(t, err, string(out))
		reopen(w)
		if i == 4 {
			s.run()
		}
	}
	w.some(500)
	s.wantSoon(w.lines)
}

func lastSibling(t *testing.T, path string) string {
	t.Helper()
	paths := siblings(t, path)
	require.NotEmpty(t, paths)
	return paths[len(paths)-1]
}
