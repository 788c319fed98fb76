package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The worked example of the README, word for word: the real nginx writes, the real
// logrotate rotates, and every request comes out once.
func TestNginxAndLogrotateAsInTheReadme(t *testing.T) {
	for _, tool := range []string{"nginx", "logrotate"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	rename := readmeBlock(t, "logrotate")
	t.Run("rename and reopen", func(t *testing.T) { everyRequestComesOutOnce(t, rename, false) })
	t.Run("copytruncate", func(t *testing.T) {
		// What nginx writes between the copy and the truncation is in neither file,
		// so here it writes nothing meanwhile.
		everyRequestComesOutOnce(t, regexp.MustCompile(`(?s)postrotate.*endscript`).ReplaceAllString(rename, "copytruncate"), true)
	})
}

func everyRequestComesOutOnce(t *testing.T, logrotateConf string, pauseToRotate bool) {
	t.Helper()
	const rounds, clients, requests = 6, 4, 100
	s := newSite(t)
	dir := filepath.Dir(s.log)
	here := strings.NewReplacer("/var/log/nginx", dir, "/run/nginx.pid", filepath.Join(dir, "nginx.pid"))
	url := startNginx(t, dir, here.Replace(readmeBlock(t, "nginx")))
	s.set("APP_HEALTH_URL=" + url + "/healthz")
	sc := s.start(t)
	conf := filepath.Join(dir, "logrotate.conf")
	require.NoError(t, os.WriteFile(conf, []byte(here.Replace(logrotateConf)), 0o600))

	for round := range rounds {
		var asking sync.WaitGroup
		for client := range clients {
			asking.Go(func() {
				for request := range requests {
					assert.NoError(t, get(fmt.Sprintf("%s/%d/%d/%d", url, round, client, request)))
				}
			})
		}
		if pauseToRotate {
			asking.Wait()
		}
		if round < rounds-1 {
			out, err := exec.Command("logrotate", "--force", "--state", filepath.Join(dir, "state"), conf).CombinedOutput()
			assert.NoError(t, err, "%s", out)
		}
		asking.Wait()
	}
	eventually(t, "a record for each request", func() bool { return sc.out.lines() >= rounds*clients*requests })
	paths := regexp.MustCompile(`"path":"/\d/\d/\d+"`).FindAllString(sc.out.String(), -1)
	assert.Len(t, paths, rounds*clients*requests)
	slices.Sort(paths)
	assert.Len(t, slices.Compact(paths), rounds*clients*requests, "none comes twice")
}

// startNginx starts nginx with the given lines in its http block, and returns its
// address.
func startNginx(t *testing.T, dir, conf string) (url string) {
	t.Helper()
	address := freePort(t)
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	file := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
daemon off;
pid %s/nginx.pid;
error_log stderr;
events {}
http {
%s
%s
	server {
		listen %s;
		location = /healthz { access_log off; return 200; }
		location / { return 200; }
	}
}
`, dir, temporary, conf, address), 0o600))
	nginx := exec.Command("nginx", "-c", file)
	nginx.Stderr = os.Stderr
	require.NoError(t, nginx.Start())
	t.Cleanup(func() {
		assert.NoError(t, nginx.Process.Signal(syscall.SIGQUIT))
		assert.NoError(t, nginx.Wait())
	})
	url = "http://" + address
	eventually(t, "nginx answers", func() bool { return get(url+"/healthz") == nil })
	return url
}

// readmeBlock returns what stands in the README between ```name and ```.
func readmeBlock(t *testing.T, name string) string {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(readme), "```"+name+"\n")
	require.True(t, found)
	block, _, _ := strings.Cut(after, "```")
	return block
}
