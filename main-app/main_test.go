package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const asMainApp = "TEST_AS_MAIN_APP"

// processEnv makes the test binary main-app. The race detector would otherwise
// wait a second at the end of each process.
var processEnv = []string{asMainApp + "=1", "GORACE=atexit_sleep_ms=0"}

// TestMain lets the test binary be main-app itself, for the tests that need a
// real process: to kill it, and to see its exit code.
func TestMain(m *testing.M) {
	if log := os.Getenv(asServer); log != "" {
		serveForBenchmark(log)
	}
	if os.Getenv(asMainApp) != "" {
		main()
	}
	os.Exit(m.Run())
}

// instance is a running main-app, in this process or in one of its own.
type instance struct {
	address string
	log     string // LOG_PATH
	stderr  *output
	signal  func(syscall.Signal)
	exit    chan int // gets the exit code, once
}

// start calls run, with variables as in NAME=value; the test ends it.
func start(t testing.TB, variables ...string) *instance {
	t.Helper()
	env := settings(t, variables)
	ctx, cancel := context.WithCancel(t.Context())
	app := &instance{log: env["LOG_PATH"], stderr: &output{}, exit: make(chan int, 1)}
	app.signal = func(syscall.Signal) { cancel() }
	go func() {
		err := run(ctx, context.Background(), nil, lookup(env), io.Discard, app.stderr)
		assert.NoError(t, err)
		app.exit <- 0
	}()
	t.Cleanup(func() {
		// Shutdown gives a connection on which nothing came yet five seconds.
		http.DefaultClient.CloseIdleConnections()
		cancel()
		app.ends(t)
	})
	app.awaitServing(t)
	return app
}

// spawn starts a process.
func spawn(t testing.TB, variables ...string) *instance {
	t.Helper()
	app := launch(t, exec.Command(os.Args[0]), variables...)
	app.awaitServing(t)
	return app
}

// launch starts cmd as main-app, and does not wait for it to serve.
func launch(t testing.TB, cmd *exec.Cmd, variables ...string) *instance {
	t.Helper()
	env := settings(t, variables)
	app := &instance{log: env["LOG_PATH"], stderr: &output{}, exit: make(chan int, 1)}
	cmd.Env = slices.Clone(processEnv)
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if cmd.Stderr == nil {
		cmd.Stderr = app.stderr
	}
	require.NoError(t, cmd.Start())
	app.signal = func(s syscall.Signal) { assert.NoError(t, cmd.Process.Signal(s)) }
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		app.exit <- cmd.ProcessState.ExitCode()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	return app
}

func settings(t testing.TB, variables []string) map[string]string {
	env := map[string]string{
		"LISTEN_ADDR":    "127.0.0.1:0",
		"LOG_PATH":       filepath.Join(t.TempDir(), "access.log"),
		"SHUTDOWN_DELAY": "0s",
	}
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return env
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { value, ok := env[name]; return value, ok }
}

// output is what a program prints; tests read it while it grows.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// message is a line of stderr, as far as the tests look at it.
type message struct {
	Msg       string
	Address   string
	Error     string
	LinesLost int `json:"lines_lost"`
	Count     int
}

// messages are those on stderr whose msg contains part.
func (o *output) messages(part string) []message {
	var found []message
	for line := range strings.Lines(o.String()) {
		var m message
		if json.Unmarshal([]byte(line), &m) == nil && strings.Contains(m.Msg, part) {
			found = append(found, m)
		}
	}
	return found
}

func eventually(t testing.TB, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, 2*time.Millisecond, what)
}

func (a *instance) awaitServing(t testing.TB) {
	t.Helper()
	eventually(t, func() bool { return len(a.stderr.messages("serving")) == 1 }, "serving")
	a.address = a.stderr.messages("serving")[0].Address
}

func (a *instance) ends(t testing.TB) int {
	t.Helper()
	select {
	case code := <-a.exit:
		a.exit <- code // for whoever asks again
		return code
	case <-time.After(10 * time.Second):
		require.Fail(t, "does not end", a.stderr.String())
		return -1
	}
}

func (a *instance) get(t testing.TB, path string) (answer *http.Response, body string) {
	t.Helper()
	answer, err := http.Get("http://" + a.address + path)
	require.NoError(t, err)
	all, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	return answer, string(all)
}

// lines are those of the log and of its rotated files, oldest first.
func (a *instance) lines(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(a.log + ".*")
	require.NoError(t, err)
	var all []string
	for i := len(paths); i >= 0; i-- {
		path := a.log
		if i > 0 {
			path += "." + strconv.Itoa(i)
		}
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			require.True(t, strings.HasSuffix(line, "}\n") && json.Valid([]byte(line)), "torn: %q", line)
			all = append(all, strings.TrimSuffix(line, "\n"))
		}
	}
	return all
}

// hasLogged reports whether there are n lines in the log. What is being written at this
// moment can be seen in part.
func (a *instance) hasLogged(t testing.TB, n int) bool {
	t.Helper()
	data, err := os.ReadFile(a.log)
	require.NoError(t, err)
	return strings.Count(string(data), "\n") == n
}

func (a *instance) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", a.address)
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// send sends text, and returns all that comes until the connection is closed.
func send(t testing.TB, conn net.Conn, text string) (answer string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(t, err)
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	return string(all)
}

func TestAnswersEveryRequestAndLogsIt(t *testing.T) {
	app := start(t)
	for target, path := range map[string]string{
		"GET /":                                `"/"`,
		"POST /api/users?id=1":                 `"/api/users"`,
		"DELETE //a/../b/":                     `"//a/../b/"`,
		"GET /%22quoted%22%5C":                 `"/\"quoted\"\\"`,
		"GET /two%0Alines%00":                  `"/two\nlines\u0000"`,
		"GET /%ff%fe":                          "\"/\ufffd\ufffd\"",
		"GET /%C3%BC%E2%80%A8":                 "\"/ü\u2028\"",
		"GET /<a>&b":                           `"/<a>&b"`,
		"GET http://elsewhere/path":            `"/path"`,
		"OPTIONS *":                            `"*"`,
		"PURGE /x":                             `"/x"`,
		"HEAD /x":                              `"/x"`,
		"GET /%7F%C2%9B31m":                    `"/\u007f\u009b31m"`,
		"GET /" + strings.Repeat("long", 4000): `"/` + strings.Repeat("long", 512)[:maxValue-1] + `…"`,
	} {
		before := time.Now().UTC().Truncate(time.Second)
		answer := send(t, app.dial(t), target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		method, _, _ := strings.Cut(target, " ")
		assert.True(t, strings.HasPrefix(answer, "HTTP/1.1 200 OK\r\n"), answer)
		assert.Contains(t, answer, "\r\nContent-Type: text/plain; charset=utf-8\r\n")
		assert.Equal(t, method != "HEAD", strings.HasSuffix(answer, "\r\n\r\nHello from main-app\n"), answer)

		lines := app.lines(t)
		line := lines[len(lines)-1]
		var stamp struct{ Timestamp string }
		require.NoError(t, json.Unmarshal([]byte(line), &stamp))
		assert.Equal(t, `{"timestamp":"`+stamp.Timestamp+`","method":"`+method+`","path":`+path+`,"status":200}`, line)
		at, err := time.Parse("2006-01-02T15:04:05Z", stamp.Timestamp)
		require.NoError(t, err)
		assert.False(t, at.Before(before) || at.After(time.Now()), stamp.Timestamp)
	}
}

// A proxy would pass on what follows, here it would be requests from nobody.
func TestRefusesToBeAProxy(t *testing.T) {
	app := start(t)
	for target, path := range map[string]string{"elsewhere:443": "", "/healthz": "/healthz"} {
		answer := send(t, app.dial(t), "CONNECT "+target+" HTTP/1.1\r\nHost: x\r\n\r\nGET /tunnelled HTTP/1.1\r\nHost: x\r\n\r\n")
		assert.True(t, strings.HasPrefix(answer, "HTTP/1.1 405 Method Not Allowed\r\n"), answer)
		assert.Contains(t, answer, "\r\nAllow: GET, ")
		assert.Equal(t, 1, strings.Count(answer, "HTTP/1.1"), answer)
		lines := app.lines(t)
		assert.Contains(t, lines[len(lines)-1], `"method":"CONNECT","path":"`+path+`","status":405}`)
	}
	assert.Len(t, app.lines(t), 2)
}

func TestProbesAreAnsweredAndNotLogged(t *testing.T) {
	app := start(t)
	for _, probe := range []string{"/healthz", "/readyz", "/healthz?verbose"} {
		answer, body := app.get(t, probe)
		assert.Equal(t, http.StatusOK, answer.StatusCode)
		assert.Equal(t, "ok", body)
	}
	assert.Empty(t, app.lines(t))
}

func TestWhoHasTheAnswerFindsTheLine(t *testing.T) {
	app := start(t)
	for i := range 200 {
		path := fmt.Sprintf("/%d", i)
		app.get(t, path)
		lines := app.lines(t)
		require.Len(t, lines, i+1)
		require.Contains(t, lines[i], `"`+path+`"`)
	}
}

func TestDiskHoldsNoMoreThanTheLimits(t *testing.T) {
	app := start(t, "LOG_MAX_BYTES=1000", "LOG_MAX_FILES=3")
	for range 100 {
		app.get(t, "/api/users")
	}
	paths, err := filepath.Glob(app.log + "*")
	require.NoError(t, err)
	assert.Len(t, paths, 3)
	for _, path := range paths {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.LessOrEqual(t, info.Size(), int64(1000))
	}
}

// Renamed, it would still be stdout.
func TestFileBehindStdoutIsNotRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	stdout, err := os.Create(path)
	require.NoError(t, err)
	defer stdout.Close()
	cmd := exec.Command(os.Args[0])
	cmd.Stdout = stdout
	app := launch(t, cmd, "LOG_PATH=/dev/stdout", "LOG_MAX_BYTES=100")
	app.awaitServing(t)
	for range 10 {
		app.get(t, "/")
	}
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, 10, bytes.Count(content, []byte("\n")))
}

// A tmpfs of 64 KiB, half of it taken by another file: the page that is the last
// one takes only a part of a line, so that this is seen as well.
func TestFullDiskCostsLinesNotAnswers(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v: %s", err, out)
	}
	t.Cleanup(func() { assert.NoError(t, exec.Command("umount", dir).Run()) })
	filler := filepath.Join(dir, "filler")
	require.NoError(t, os.WriteFile(filler, make([]byte, 32<<10), 0o600))
	app := start(t, "LOG_PATH="+filepath.Join(dir, "access.log"))

	requests := 0
	ask := func() {
		answer, _ := app.get(t, "/a/path/that/fills/the/disk")
		require.Equal(t, http.StatusOK, answer.StatusCode)
		requests++
	}
	for requests < 2000 && len(app.stderr.messages("cannot be written")) == 0 {
		ask()
	}
	for range 50 {
		ask()
	}
	cannot := app.stderr.messages("cannot be written")
	require.Len(t, cannot, 1, "said, and not once per request")
	assert.Equal(t, 1, cannot[0].LinesLost)
	assert.Contains(t, cannot[0].Error, "no space left on device")
	assert.Len(t, app.lines(t), requests-51, "and every one of them whole")

	require.NoError(t, os.Remove(filler))
	ask()
	again := app.stderr.messages("written again")
	require.Len(t, again, 1)
	assert.Equal(t, 51, again[0].LinesLost)
	assert.Len(t, app.lines(t), requests-51)
}

func TestLostLinesAreSaidAtTheEnd(t *testing.T) {
	app := start(t)
	require.NoError(t, os.RemoveAll(filepath.Dir(app.log)))
	for range 3 {
		answer, _ := app.get(t, "/")
		assert.Equal(t, http.StatusOK, answer.StatusCode)
	}
	app.signal(syscall.SIGTERM)
	app.ends(t)
	end := app.stderr.messages("could not be written")
	require.Len(t, end, 1)
	assert.Equal(t, 3, end[0].LinesLost)
}

func TestBadValueIsSaidInOneLine(t *testing.T) {
	dir := t.TempDir()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = busy.Close() }()

	for variable, want := range map[string]string{
		"LISTEN_ADDR=8080":                    "want host:port or :port",
		"LISTEN_ADDR=:http":                   "want host:port or :port",
		"LISTEN_ADDR=:65536":                  "want host:port or :port",
		"LISTEN_ADDR=" + busy.Addr().String(): "address already in use: want a free address on this machine",
		"LOG_PATH=" + dir:                     "is a directory: want a file and a directory that can be written",
		"LOG_PATH=" + dir + "/no/log":         "no such file or directory: want a file and a directory that can be written",
		"LOG_MAX_BYTES=-1":                    "want a number of bytes from 0 to 1099511627776",
		"LOG_MAX_BYTES=16M":                   "want a number of bytes from 0 to 1099511627776",
		"LOG_MAX_BYTES=9223372036854775808":   "want a number of bytes from 0 to 1099511627776",
		"LOG_MAX_FILES=0":                     "want a number of files from 1 to 1000",
		"LOG_MAX_FILES=1001":                  "want a number of files from 1 to 1000",
		"LOG_MAX_FILES=two":                   "want a number of files from 1 to 1000",
		"SHUTDOWN_DELAY=3":                    "want a duration from 0s to 24h, such as 3s",
		"SHUTDOWN_DELAY=25h":                  "want a duration from 0s to 24h, such as 3s",
		"SHUTDOWN_DELAY=-1s":                  "want a duration from 0s to 24h, such as 3s",
		"SHUTDOWN_TIMEOUT=soon":               "want a duration from 0s to 24h, such as 10s",
		"SHUTDOWN_TIMEOUT=-1ns":               "want a duration from 0s to 24h, such as 10s",
	} {
		t.Run(variable, func(t *testing.T) {
			var stderr output
			err := run(t.Context(), t.Context(), nil, lookup(settings(t, []string{variable})), io.Discard, &stderr)
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(err.Error(), variable+": "), err)
			assert.True(t, strings.HasSuffix(err.Error(), want), err)
			assert.Empty(t, stderr.String(), "main says it, once")
		})
	}
}

// The file alone could be written, for as long as it is not rotated.
func TestUnwritableDirectoryIsSaidAtTheStart(t *testing.T) {
	dir, err := os.MkdirTemp("", "main-app-test") // another user must get at it, unlike at t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, os.Chmod(dir, 0o700))
		assert.NoError(t, os.RemoveAll(dir))
	})
	log := filepath.Join(dir, "access.log")
	require.NoError(t, os.WriteFile(log, nil, 0o666))
	require.NoError(t, os.Chmod(log, 0o666))
	require.NoError(t, os.Chmod(dir, 0o555))
	for maxBytes, want := range map[string]string{"1000": "LOG_PATH=" + log + ": rotate in " + dir + ": permission denied: want", "0": `"serving"`} {
		cmd := exec.Command(os.Args[0])
		if os.Getuid() == 0 {
			cmd.Path = "/proc/self/exe" // the directories of its name may be barred to another user
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		}
		app := launch(t, cmd, "LOG_PATH="+log, "LOG_MAX_BYTES="+maxBytes)
		eventually(t, func() bool { return strings.Contains(app.stderr.String(), want) }, want)
	}
}

func TestEmptyVariableIsTheDefault(t *testing.T) {
	env := &environment{lookup: lookup(map[string]string{"LOG_PATH": "", "LOG_MAX_FILES": ""})}
	cfg := readConfig(env)
	require.NoError(t, env.err)
	assert.Equal(t, config{":8080", "/var/log/app/access.log", 16 << 20, 8, 3 * time.Second, 10 * time.Second}, cfg)
}

func TestExitCodes(t *testing.T) {
	for _, test := range []struct {
		args           []string
		code           int
		stdout, stderr string // as patterns
	}{
		{[]string{"-version"}, 0, `^main-app dev\n$`, `^$`},
		{[]string{"-help"}, 0, `LOG_MAX_BYTES`, `^$`},
		{[]string{"-h"}, 0, `\(default 16777216\)`, `^$`},
		{[]string{"-x"}, 2, `^$`, `^unknown argument: -x\n`},
		{[]string{""}, 2, `^$`, `^unknown argument: \n`},
		{[]string{"serve"}, 2, `^$`, `^unknown argument: serve\n`},
		{nil, 1, `^$`, `^.*LOG_MAX_FILES=0: want.*\n$`}, // one line
	} {
		cmd := exec.Command(os.Args[0], test.args...)
		cmd.Env = append(slices.Clone(processEnv), "LOG_MAX_FILES=0")
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run() // fails where the exit code is not 0
		assert.Equal(t, test.code, cmd.ProcessState.ExitCode(), test.args)
		assert.Regexp(t, test.stdout, stdout.String())
		assert.Regexp(t, test.stderr, stderr.String())
	}
}

func TestHelpNamesEveryVariable(t *testing.T) {
	var stdout output
	require.NoError(t, run(t.Context(), t.Context(), []string{"-help"}, os.LookupEnv, &stdout, io.Discard))
	for name, standard := range map[string]string{
		"LISTEN_ADDR": ":8080", "LOG_PATH": "/var/log/app/access.log", "LOG_MAX_BYTES": "16777216",
		"LOG_MAX_FILES": "8", "SHUTDOWN_DELAY": "3s", "SHUTDOWN_TIMEOUT": "10s",
	} {
		assert.Regexp(t, `(?m)^  `+name+` .*\(default `+standard+`\)$`, stdout.String())
	}
}

func TestServesOnUnreadyAfterSIGTERM(t *testing.T) {
	app := spawn(t, "SHUTDOWN_DELAY=1m")
	idle := app.dial(t)
	app.signal(syscall.SIGTERM)
	eventually(t, func() bool { answer, _ := app.get(t, "/readyz"); return answer.StatusCode == 503 }, "not ready")

	alive, _ := app.get(t, "/healthz")
	assert.Equal(t, http.StatusOK, alive.StatusCode)
	late, _ := app.get(t, "/late")
	assert.Equal(t, http.StatusOK, late.StatusCode)
	assert.True(t, late.Close, "the next request shall go elsewhere")
	assert.Contains(t, app.lines(t)[0], `"/late"`)
	assert.Contains(t, send(t, idle, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"), "200 OK", "on a connection from before, too")
}

// hold brings a request in flight that lasts until its body is sent: net/http
// reads what the handler leaves of a body before it sends the answer.
func (a *instance) hold(t testing.TB) net.Conn {
	t.Helper()
	conn := a.dial(t)
	_, err := io.WriteString(conn, "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
	require.NoError(t, err)
	eventually(t, func() bool { return a.hasLogged(t, 1) }, "the request is in its handler")
	return conn
}

func (a *instance) refuses() bool {
	conn, err := net.Dial("tcp", a.address)
	if err == nil {
		_ = conn.Close()
	}
	return err != nil
}

func TestFinishesWhatIsInFlight(t *testing.T) {
	app := spawn(t, "SHUTDOWN_DELAY=50ms")
	held := app.hold(t)
	app.signal(syscall.SIGINT)
	eventually(t, app.refuses, "no new connections")
	answer := send(t, held, "body")
	assert.Contains(t, answer, "200 OK")
	assert.Contains(t, answer, "Hello from main-app\n")
	assert.Zero(t, app.ends(t))
	assert.Len(t, app.stderr.messages("stopped"), 1)
	assert.Len(t, app.lines(t), 1)
}

func TestCutsOffWhatTakesTooLong(t *testing.T) {
	app := spawn(t, "SHUTDOWN_TIMEOUT=50ms")
	app.hold(t)
	app.signal(syscall.SIGTERM)
	assert.Equal(t, 1, app.ends(t))
	assert.Len(t, app.stderr.messages("requests cut off in flight: 1:"), 1)
}

// Such as a browser or a load balancer opens in advance.
func TestSilentConnectionIsNotInFlight(t *testing.T) {
	app := spawn(t, "SHUTDOWN_TIMEOUT=50ms")
	app.get(t, "/")
	app.dial(t)
	app.signal(syscall.SIGTERM)
	assert.Zero(t, app.ends(t), app.stderr)
	assert.Len(t, app.stderr.messages("stopped"), 1)
}

func TestSecondSignalEndsItAtOnce(t *testing.T) {
	for _, variable := range []string{"SHUTDOWN_DELAY=1m", "SHUTDOWN_TIMEOUT=1m"} {
		t.Run("instead of "+variable, func(t *testing.T) {
			app := spawn(t, variable)
			app.hold(t)
			app.signal(syscall.SIGTERM)
			eventually(t, func() bool { return len(app.stderr.messages("draining")) == 1 }, "draining")
			app.signal(syscall.SIGTERM)
			assert.Equal(t, 1, app.ends(t))
			assert.Len(t, app.stderr.messages("ended by a second signal"), 1)
		})
	}
}

func TestTwoSignalsAtTheSameTime(t *testing.T) {
	app := spawn(t, "SHUTDOWN_DELAY=1h")
	app.signal(syscall.SIGSTOP) // both are there when it goes on
	app.signal(syscall.SIGTERM)
	app.signal(syscall.SIGINT)
	app.signal(syscall.SIGCONT)
	assert.Equal(t, 1, app.ends(t))
	assert.Len(t, app.stderr.messages("ended by a second signal"), 1)
}

func TestKilledItHasEveryAnsweredLine(t *testing.T) {
	app := spawn(t, "LOG_MAX_BYTES=4096", "LOG_MAX_FILES=1000")
	answered := make(chan string, 1<<16)
	var clients sync.WaitGroup
	for c := range 4 {
		conn := app.dial(t)
		clients.Go(func() {
			in := bufio.NewReader(conn)
			for i := 0; ; i++ {
				path := fmt.Sprintf("/%d/%d", c, i)
				_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
				if readAnswer(in) != nil {
					return // killed
				}
				answered <- path
			}
		})
	}
	eventually(t, func() bool { return len(answered) > 300 }, "load")
	app.signal(syscall.SIGKILL)
	app.ends(t)
	clients.Wait()

	again := spawn(t, "LOG_PATH="+app.log, "LOG_MAX_BYTES=4096", "LOG_MAX_FILES=1000")
	again.get(t, "/again")
	answered <- "/again"
	close(answered)
	log := strings.Join(again.lines(t), "\n")
	for path := range answered {
		assert.Equal(t, 1, strings.Count(log, `"path":"`+path+`"`), path)
	}
}
