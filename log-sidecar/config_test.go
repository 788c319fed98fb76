package main

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// refuses wants the sidecar to exit 1, with one line that names the variable, its value
// and what is allowed.
func (s *site) refuses(t *testing.T, name, allowed string) {
	t.Helper()
	sc := s.launch(t)
	sc.read()
	sc.fails(t, name+"="+s.env[name]+": ")
	sc.fails(t, ": want "+allowed)
	assert.Equal(t, 1, sc.stderr.lines(), sc.stderr.String())
	assert.Empty(t, sc.out.String())
}

func TestBadValueIsSaidInOneLine(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	for _, test := range []struct {
		name, allowed string
		values        []string
	}{
		{"LOG_PATH", "the path of a file", []string{t.TempDir(), "/no/such/directory/"}},
		{"STATE_DIR", wantStateDir, []string{"/proc/no/such/directory", binary}},
		{"LISTEN_ADDR", "host:port or :port", []string{"9090", "localhost", ":", ":http", ":65536", ":-1", "::1:9090", "http://localhost:9090"}},
		{"LISTEN_ADDR", "a free address on this machine", []string{busy.Addr().String(), "192.0.2.1:9090"}},
		{"APP_HEALTH_URL", "an http:// or https:// URL, or empty", []string{"localhost:8080/healthz", "/healthz", "http://", "ftp://localhost/", "http://localhost:99999/", "http://[::1/"}},
		{"EXTRA_FIELDS", "key=value,key=value with keys that are UTF-8, unique and not raw, host, processed_at or partial",
			[]string{"zone", "=b", "a=1,", ",", ",a=1", "a=1,,b=2", "a=1,a=2", "raw=x", "host=x", "processed_at=x", "a=1,partial=x"}},
		{"MAX_LINE_BYTES", "a number of bytes from 4 to 1073741824", []string{"many", "1.5", "1MB", "0", "3", "-1", "1073741825", "99999999999999999999"}},
		{"POLL_INTERVAL", "a duration from 10ms to 1h, such as 1s", []string{"1", "often", "9ms", "0s", "-1s", "1h1ns"}},
		{"DRAIN_TIMEOUT", "a duration from 0s to 24h, such as 20s", []string{"20", "long", "-1ns", "-20s", "1e99h"}},
	} {
		for _, value := range test.values {
			t.Run(test.name+"="+value, func(t *testing.T) {
				newSite(t, test.name+"="+value).refuses(t, test.name, test.allowed)
			})
		}
	}
}

func TestStateDirMustBeWritable(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, s *site){
		"not ours": func(t *testing.T, s *site) {
			s.runAsNobody(t)
			require.NoError(t, os.Chown(s.env["STATE_DIR"], 0, 0))
		},
		"in use":                         func(t *testing.T, s *site) { s.start(t) },
		"positions that are a directory": func(t *testing.T, s *site) { require.NoError(t, os.Mkdir(s.env["STATE_DIR"]+"/positions", 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			spoil(t, s)
			s.refuses(t, "STATE_DIR", wantStateDir)
		})
	}
}

func TestEmptyValuesAreTheDefaults(t *testing.T) {
	env := &environment{lookup: func(string) (string, bool) { return "", true }}
	cfg := readConfig(env)
	require.NoError(t, env.err)
	assert.Equal(t, config{
		logPath:      "/var/log/app/access.log",
		listenAddr:   ":9090",
		maxLineBytes: 1 << 20,
		pollInterval: time.Second,
		drainTimeout: 20 * time.Second,
	}, cfg, "but STATE_DIR and APP_HEALTH_URL may be empty")
}

// Whatever a variable holds, either it is valid, or an error names it, its value and
// what is allowed.
func FuzzVariables(f *testing.F) {
	names := []string{
		"LOG_PATH", "STATE_DIR", "LISTEN_ADDR", "APP_HEALTH_URL", "EXTRA_FIELDS", "MAX_LINE_BYTES", "POLL_INTERVAL", "DRAIN_TIMEOUT",
	}
	for _, value := range []string{
		"", "/", "\x00", "a\nb", ":9090", "[::1]:0", "localhost:http", "http://:80", "http://localhost:8080/healthz",
		"a=b,c=d", "raw=1", "=,", "4", "-1", "1e9", "0s", "10ms", "-1s", "9999999h", "∞",
	} {
		for n := range names {
			f.Add(uint(n), value)
		}
	}
	f.Fuzz(func(t *testing.T, n uint, value string) {
		name := names[n%uint(len(names))]
		env := &environment{lookup: (&site{env: map[string]string{name: value}}).lookup}
		cfg := readConfig(env)
		if env.err != nil {
			require.Contains(t, env.err.Error(), name+"="+value+": want ")
			return
		}
		require.NotEmpty(t, cfg.logPath)
		require.GreaterOrEqual(t, cfg.maxLineBytes, 4)
		require.GreaterOrEqual(t, cfg.pollInterval, 10*time.Millisecond)
		require.GreaterOrEqual(t, cfg.drainTimeout, time.Duration(0))
	})
}
