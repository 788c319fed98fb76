package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
	err := cmd.Wait()
	require.True(t, killer.Stop(), "does not end")
	var exit *exec.ExitError
	require.True(t, err == nil || errors.As(err, &exit), err)
	return ended{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
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

func TestBadValueIsSaidInOneLine(t *testing.T) {
	const (
		address  = "host:port or :port"
		url      = "an http:// or https:// URL, or empty"
		fields   = "key=value,key=value with keys that are UTF-8, unique and not raw, host, processed_at or partial"
		size     = "a number of bytes from 4 to 1073741824"
		interval = "a duration from 10ms to 1h, such as 1s"
		timeout  = "a duration from 0s to 24h, such as 20s"
	)
	for _, test := range []struct {
		name, allowed string
		values        []string
	}{
		{"LISTEN_ADDR", address, []string{"9090", "localhost", ":", ":http", ":65536", ":-1", "::1:9090", "http://localhost:9090"}},
		{"APP_HEALTH_URL", url, []string{"localhost:8080/healthz", "/healthz", "http://", "ftp://localhost/", "http://localhost:99999/", "http://[::1/"}},
		{"EXTRA_FIELDS", fields, []string{"zone", "=b", "a=1,", ",", ",a=1", "a=1,,b=2", "a=1,a=2", "raw=x", "host=x", "processed_at=x", "a=1,partial=x"}},
		{"MAX_LINE_BYTES", size, []string{"many", "1.5", "1MB", "0", "3", "-1", "1073741825", "99999999999999999999"}},
		{"POLL_INTERVAL", interval, []string{"1", "often", "9ms", "0s", "-1s", "1h1ns"}},
		{"DRAIN_TIMEOUT", timeout, []string{"20", "long", "-1ns", "-20s", "1e99h"}},
	} {
		for _, value := range test.values {
			t.Run(test.name+"="+value, func(t *testing.T) {
				newSite(t, test.name+"="+value).assertRefuses(t, test.name, test.allowed)
			})
		}
	}
}

func TestLogPathMustNotBeADirectory(t *testing.T) {
	s := newSite(t)
	s.set("LOG_PATH=" + filepath.Dir(s.log))
	s.assertRefuses(t, "LOG_PATH", "the path of a file")
}

func TestStateDirMustBeWritable(t *testing.T) {
	const allowed = "a writable directory of its own, or empty"
	t.Run("cannot be made", func(t *testing.T) {
		newSite(t, "STATE_DIR=/proc/no/such/directory").assertRefuses(t, "STATE_DIR", allowed)
	})
	t.Run("a file", func(t *testing.T) {
		s := newSite(t)
		s.write(t, "line\n")
		s.set("STATE_DIR=" + s.log)
		s.assertRefuses(t, "STATE_DIR", allowed)
	})
	t.Run("not ours", func(t *testing.T) {
		s := newSite(t)
		s.runAs(t, nobody)
		require.NoError(t, os.Chown(s.env["STATE_DIR"], 0, 0))
		s.assertRefuses(t, "STATE_DIR", allowed)
	})
	t.Run("positions that are a directory", func(t *testing.T) {
		s := newSite(t)
		require.NoError(t, os.Mkdir(filepath.Join(s.env["STATE_DIR"], "positions"), 0o700))
		s.assertRefuses(t, "STATE_DIR", allowed)
	})
	t.Run("in use", func(t *testing.T) {
		s := newSite(t)
		s.start(t)
		s.assertRefuses(t, "STATE_DIR", allowed)
	})
}

const (
	nobody   = 65_532 // the user that the image runs as
	stranger = 65_531 // whom nothing else on the machine runs as
)

func TestAddressMustBeFree(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer busy.Close()
	newSite(t, "LISTEN_ADDR="+busy.Addr().String()).assertRefuses(t, "LISTEN_ADDR", "a free address on this machine")
	newSite(t, "LISTEN_ADDR=192.0.2.1:9090").assertRefuses(t, "LISTEN_ADDR", "a free address on this machine")
}

func TestUsageErrorsExitWith2(t *testing.T) {
	for _, args := range [][]string{{"-no-such-flag"}, {"access.log"}, {"-version=maybe"}, {"--", "x"}} {
		got := newSite(t).try(t, args...)
		assert.Equal(t, 2, got.code, args)
		assert.Empty(t, got.stdout)
		assert.Contains(t, got.stderr, "Usage: log-sidecar")
	}
}

func TestHelpListsEveryVariable(t *testing.T) {
	for _, flag := range []string{"-help", "--help", "-h"} {
		got := newSite(t, "MAX_LINE_BYTES=bad").try(t, flag)
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

func TestVersion(t *testing.T) {
	assert.Equal(t, ended{0, "log-sidecar 1.2.3-test\n", ""}, newSite(t).try(t, "-version"))
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

func TestEmptyStateDirStartsFromTheOldestFileEachTime(t *testing.T) {
	s := newSite(t, "STATE_DIR=")
	s.write(t, "one\n")
	s.rotate(t)
	s.write(t, "two\n")
	for range 2 {
		sc := s.start(t)
		sc.prints(t, "one", "two")
		sc.signal(t, syscall.SIGTERM)
		require.Equal(t, 0, sc.exits(t))
		sc.hasPrinted(t, "one", "two")
	}
}

func TestEmptyValuesAreTheDefaults(t *testing.T) {
	s := newSite(t, "MAX_LINE_BYTES=", "POLL_INTERVAL=", "DRAIN_TIMEOUT=", "EXTRA_FIELDS=")
	sc := s.start(t)
	s.write(t, "one\n")
	sc.prints(t, "one")
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
