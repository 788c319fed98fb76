package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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
	t.Run("rename and reopen", func(t *testing.T) {
		everyRequestComesOutOnce(t, readmeBlock(t, "logrotate"), false)
	})
	t.Run("copytruncate", func(t *testing.T) {
		conf := readmeBlock(t, "logrotate")
		begin, end := strings.Index(conf, "    postrotate"), strings.Index(conf, "endscript\n")+len("endscript\n")
		// What nginx writes between the copy and the truncation is in neither file,
		// so here it writes nothing meanwhile.
		everyRequestComesOutOnce(t, conf[:begin]+"    copytruncate\n"+conf[end:], true)
	})
}

func everyRequestComesOutOnce(t *testing.T, logrotateConf string, pauseToRotate bool) {
	const clients, requests, rotations = 4, 500, 5
	s := newSite(t)
	dir := filepath.Dir(s.log)
	here := strings.NewReplacer("/var/log/nginx", dir, "/run/nginx.pid", filepath.Join(dir, "nginx.pid"))
	url := startNginx(t, dir, here.Replace(readmeBlock(t, "nginx")))
	s.set("APP_HEALTH_URL=" + url + "/healthz")
	sc := s.start(t)

	conf := filepath.Join(dir, "logrotate.conf")
	require.NoError(t, os.WriteFile(conf, []byte(here.Replace(logrotateConf)), 0o600))
	var pause sync.RWMutex // held to rotate, where that must be alone
	rotate := func() {
		if pauseToRotate {
			pause.Lock()
			defer pause.Unlock()
		}
		out, err := exec.Command("logrotate", "--force", "--state", filepath.Join(dir, "state"), conf).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}

	var want []string
	var answered atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		for r := range requests {
			want = append(want, fmt.Sprintf("/%d/%d", c, r))
		}
		wg.Go(func() {
			for r := range requests {
				pause.RLock()
				err := get(fmt.Sprintf("%s/%d/%d", url, c, r))
				pause.RUnlock()
				if !assert.NoError(t, err) {
					return
				}
				answered.Add(1)
			}
		})
	}
	for r := range rotations {
		eventually(t, "requests before the next rotation", func() bool {
			return t.Failed() || answered.Load() >= int64(clients*requests*(r+1)/(rotations+1))
		})
		rotate()
	}
	wg.Wait()

	eventually(t, "a record for each request", func() bool { return sc.out.lines() >= len(want) })
	var got []string
	for line := range strings.Lines(sc.out.String()) {
		got = append(got, pathIn(line))
	}
	assert.ElementsMatch(t, want, got)
}

func get(url string) error {
	response, err := http.Get(url)
	if err == nil {
		err = response.Body.Close()
	}
	return err
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
