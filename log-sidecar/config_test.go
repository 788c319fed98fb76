package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ended is what a process has left that ended by itself.
type ended struct {
	code           int
	stdout, stderr string
}

// try runs the sidecar, which is expected to end by itself.
func (s *site) try(t *testing.T, args ...string) ended {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	killer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait() // the exit code says it
	require.True(t, killer.Stop(), "does not end")
	return ended{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
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
				newSite(t, test.name+"="+value).assertRefuses(t, test.name, test.allowed)
			})
		}
	}
}

// assertRefuses wants one line on stderr that says what is wrong with the variable
// and what is allowed, and exit code 1.
func (s *site) assertRefuses(t *testing.T, name, allowed string) {
	t.Helper()
	got := s.try(t)
	assert.Equal(t, 1, got.code)
	assert.Empty(t, got.stdout)
	assert.Equal(t, 1, strings.Count(got.stderr, "\n"), got.stderr)
	var stderr output
	_, _ = stderr.Write([]byte(got.stderr))
	stderr.assertDiagnosticsOnly(t)
	assert.Len(t, stderr.messages(name+"="+s.env[name]+": "), 1, "names variable and value: %s", got.stderr)
	assert.Len(t, stderr.messages(": want "+allowed), 1, got.stderr)
}

func TestStateDirMustBeWritable(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, s *site){
		"not ours": func(t *testing.T, s *site) {
			s.runAs(t, nobody)
			require.NoError(t, os.Chown(s.env["STATE_DIR"], 0, 0))
		},
		"positions that are a directory": func(t *testing.T, s *site) {
			require.NoError(t, os.Mkdir(filepath.Join(s.env["STATE_DIR"], "positions"), 0o700))
		},
		"in use": func(t *testing.T, s *site) { s.start(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			spoil(t, s)
			s.assertRefuses(t, "STATE_DIR", wantStateDir)
		})
	}
}

func TestArguments(t *testing.T) {
	for _, arg := range []string{"-no-such-flag", "access.log", "-version=maybe", "--"} {
		got := newSite(t).try(t, arg)
		assert.Equal(t, 2, got.code, arg)
		assert.Empty(t, got.stdout)
		assert.Contains(t, got.stderr, "unknown argument: "+arg+"\nUsage: log-sidecar")
	}
	assert.Equal(t, ended{0, "log-sidecar 1.2.3-test\n", ""}, newSite(t).try(t, "-version"))
	for _, arg := range []string{"-help", "--help", "-h"} {
		got := newSite(t, "MAX_LINE_BYTES=bad").try(t, arg)
		assert.Equal(t, 0, got.code)
		assert.Empty(t, got.stderr)
		for name, standard := range map[string]string{
			"LOG_PATH": "/var/log/app/access.log", "STATE_DIR": "/var/lib/log-sidecar", "LISTEN_ADDR": ":9090",
			"APP_HEALTH_URL": "http://localhost:8080/healthz", "EXTRA_FIELDS": "", "MAX_LINE_BYTES": "1048576",
			"POLL_INTERVAL": "1s", "DRAIN_TIMEOUT": "20s",
		} {
			assert.Regexp(t, `(?m)^  `+name+` .*\(default `+standard+`\)$`, got.stdout)
		}
	}
}

func TestExtraFieldsEndEveryRecord(t *testing.T) {
	for value, want := range map[string]string{
		"":                            ``,
		"namespace=default,pod=web-0": `,"namespace":"default","pod":"web-0"`,
		"b=2,a=1":                     `,"b":"2","a":"1"`,
		"query=a=b=c":                 `,"query":"a=b=c"`,
		"empty=":                      `,"empty":""`,
		`quote="x\y"`:                 `,"quote":"\"x\\y\""`,
		`k"ey=v`:                      `,"k\"ey":"v"`,
		"größe=世界 🎉":                  `,"größe":"世界 🎉"`,
		"lines=a\nb\tc":               `,"lines":"a\nb\tc"`,
		" spaced = out ":              `," spaced ":" out "`,
		"not=utf8\xff":                `,"not":"utf8` + "\ufffd\"",
		"Raw=is another,HOST=too":     `,"Raw":"is another","HOST":"too"`,
	} {
		t.Run(value, func(t *testing.T) {
			s := newSite(t, "EXTRA_FIELDS="+value, "MAX_LINE_BYTES=8")
			sc := s.start(t)
			s.write(t, "1\nlonger than 8\n")
			eventually(t, "records", func() bool { return sc.out.lines() == 3 })
			lines := strings.Split(sc.out.String(), "\n")
			assert.Regexp(t, `^\{"raw":1,"host":"[^"]+","processed_at":"[^"]+"`, lines[0])
			assert.True(t, strings.HasSuffix(lines[0], `Z"`+want+`}`), lines[0])
			assert.True(t, strings.HasSuffix(lines[1], `Z"`+want+`,"partial":true}`), lines[1])
			assert.True(t, strings.HasSuffix(lines[2], `Z"`+want+`}`), lines[2])
		})
	}
}

func TestEmptyStateDirKeepsNothing(t *testing.T) {
	s := newSite(t, "STATE_DIR=")
	s.write(t, "one\n")
	s.rotate(t)
	s.write(t, "two\n")
	for range 2 { // the oldest file first, each time
		sc := s.start(t)
		sc.prints(t, "one", "two")
		sc.stop(t)
		sc.hasPrinted(t, "one", "two")
	}
}

func TestEmptyValuesAreTheDefaults(t *testing.T) {
	env := &environment{lookup: newSite(t, "MAX_LINE_BYTES=", "POLL_INTERVAL=", "DRAIN_TIMEOUT=", "EXTRA_FIELDS=").lookup}
	cfg := readConfig(env)
	require.NoError(t, env.err)
	assert.Equal(t, 1<<20, cfg.maxLineBytes)
	assert.Equal(t, time.Second, cfg.pollInterval)
	assert.Equal(t, 20*time.Second, cfg.drainTimeout)
	assert.Empty(t, cfg.extraFields)
}

// Whatever the variables hold, either they are all valid, or an error names one of them,
// its value and what is allowed.
func FuzzVariables(f *testing.F) {
	names := []string{
		"LOG_PATH", "STATE_DIR", "LISTEN_ADDR", "APP_HEALTH_URL", "EXTRA_FIELDS", "MAX_LINE_BYTES", "POLL_INTERVAL", "DRAIN_TIMEOUT",
	}
	f.Add("/var/log/app/access.log", "/var/lib/log-sidecar", ":9090", "http://localhost:8080/healthz", "a=b,c=d", "4", "10ms", "0s")
	f.Add("", "", "", "", "", "", "", "")
	f.Add("/", "\x00", "localhost:http", "ftp://x", "raw=1", "-1", "1", "-1s")
	f.Add("a\nb", "..", "[::1]:0", "http://:80", "=,", "1e9", "9999999h", "∞")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h, i string) {
		values := map[string]string{}
		for n, value := range []string{a, b, c, d, e, g, h, i} {
			values[names[n]] = value
		}
		env := &environment{lookup: func(name string) (string, bool) { value, ok := values[name]; return value, ok }}
		cfg := readConfig(env)
		if env.err != nil {
			at := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(env.err.Error(), name+"="+values[name]) })
			require.GreaterOrEqual(t, at, 0, env.err.Error())
			require.Contains(t, env.err.Error(), ": want ")
			return
		}
		require.NotEmpty(t, cfg.logPath)
		require.GreaterOrEqual(t, cfg.maxLineBytes, 4)
		require.GreaterOrEqual(t, cfg.pollInterval, 10*time.Millisecond)
		require.GreaterOrEqual(t, cfg.drainTimeout, time.Duration(0))
	})
}
