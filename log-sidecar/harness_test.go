package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// binary is the program under test, built as it is released.
var binary string

func TestMain(m *testing.M) {
	if path := os.Getenv(asNaiveTailer); path != "" {
		naiveTail(path)
		return
	}
	dir, err := os.MkdirTemp("", "log-sidecar-test")
	if err == nil {
		err = os.Chmod(dir, 0o755) //nolint:gosec // some tests run it as another user, and nothing in it is secret
	}
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "log-sidecar")
	build := exec.Command("go", "build", "-trimpath", "-tags", "nethttpomithttp2",
		"-ldflags", "-s -w -X main.version=1.2.3-test", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	code := 1
	if build.Run() == nil { // if not, it has said why
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience is how long a test waits for what must come. It is no measure of anything.
const patience = 30 * time.Second

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, patience, 2*time.Millisecond, what)
}

// A site is what a sidecar is started in: directories, variables, a user.
type site struct {
	log string // LOG_PATH
	env map[string]string
	uid int // 0: that of the test
}

// newSite makes the directories; variables are as in NAME=value.
func newSite(t *testing.T, variables ...string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "log-sidecar-site") // another user must get at it, unlike at t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	s := &site{log: filepath.Join(dir, "log", "access.log"), env: map[string]string{}}
	state := filepath.Join(dir, "state")
	for _, d := range []string{dir, filepath.Dir(s.log), state} {
		require.NoError(t, os.MkdirAll(d, 0o755))
		require.NoError(t, os.Chmod(d, 0o755))
	}
	s.set("LOG_PATH="+s.log, "STATE_DIR="+state, "LISTEN_ADDR=127.0.0.1:0", "APP_HEALTH_URL=")
	s.set(variables...)
	return s
}

func (s *site) set(variables ...string) {
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		s.env[name] = value
	}
}

func (s *site) lookup(name string) (string, bool) {
	value, isSet := s.env[name]
	return value, isSet
}

// The user that the image runs as, and one that nothing else on the machine runs as.
const nobody, stranger = 65_532, 65_531

// runAsNobody makes nobody the sidecar's user, and the owner of the positions.
func (s *site) runAsNobody(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to run a process as another user")
	}
	s.uid = nobody
	require.NoError(t, os.Chown(s.env["STATE_DIR"], nobody, nobody))
}

// write appends to the log as an app does that opens it anew for each line.
func (s *site) write(t *testing.T, text string) {
	t.Helper()
	file := openLog(t, s.log)
	_, err := file.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

func openLog(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	require.NoError(t, err)
	return file
}

// rotate renames the log and its older files.
func (s *site) rotate(t *testing.T) {
	t.Helper()
	older, err := filepath.Glob(s.log + ".*")
	require.NoError(t, err)
	for n := len(older); n > 0; n-- {
		require.NoError(t, os.Rename(fmt.Sprintf("%s.%d", s.log, n), fmt.Sprintf("%s.%d", s.log, n+1)))
	}
	require.NoError(t, os.Rename(s.log, s.log+".1"))
}

// An app holds the log open and answers health checks, as the real one does.
type app struct {
	site   *site
	file   *os.File
	server *httptest.Server
	status atomic.Int64 // of its answers; 0: it never answers
	greets atomic.Bool  // it speaks first, as HTTP servers never do
	asked  atomic.Bool  // somebody has asked it
}

// newApp starts an app; the site's sidecars ask it from then on.
func (s *site) newApp(t *testing.T) *app {
	t.Helper()
	a := &app{site: s, file: openLog(t, s.log)}
	a.status.Store(http.StatusOK)
	a.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Store(true)
		if status := int(a.status.Load()); status != 0 {
			w.WriteHeader(status)
			return
		}
		<-r.Context().Done() // who asked has given up
	}))
	a.server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew && a.greets.Load() {
			_, _ = io.WriteString(conn, "220 at your service\r\n")
		}
	}
	a.server.Start()
	s.set("APP_HEALTH_URL=" + a.server.URL + "/healthz")
	t.Cleanup(func() { a.end() })
	return a
}

func (a *app) write(t *testing.T, text string) {
	t.Helper()
	_, err := a.file.WriteString(text)
	require.NoError(t, err)
}

func (a *app) rotate(t *testing.T) {
	t.Helper()
	a.site.rotate(t)
	a.letGo()
	a.file = openLog(t, a.site.log)
}

// letGo closes the log.
func (a *app) letGo() { _ = a.file.Close() } // it may be closed already

// hangUp closes the port.
func (a *app) hangUp() { a.server.Close() }

// end ends the app and returns when that was.
func (a *app) end() time.Time {
	a.hangUp()
	a.letGo()
	return time.Now()
}

// A sidecar is a running process of the program under test.
type sidecar struct {
	cmd     *exec.Cmd
	address string   // of /health and /metrics
	stdout  *os.File // the end of the pipe that the test reads
	reading sync.WaitGroup
	out     output // of stdout, as far as it was read
	stderr  output
	ended   atomic.Bool
	endedAt time.Time // set before ended
}

// start starts a sidecar whose stdout is read.
func (s *site) start(t *testing.T) *sidecar {
	t.Helper()
	sc := s.startUnread(t)
	sc.read()
	return sc
}

// startUnread starts a sidecar whose stdout nobody reads, until read is called.
func (s *site) startUnread(t *testing.T, changes ...func(*exec.Cmd)) *sidecar {
	t.Helper()
	sc := s.launch(t, changes...)
	sc.address = sc.says(t, "following").Address
	return sc
}

// launch starts a sidecar and does not wait until it serves, which it may never do.
func (s *site) launch(t *testing.T, changes ...func(*exec.Cmd)) *sidecar {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer w.Close()
	sc := &sidecar{cmd: exec.Command(binary), stdout: r}
	sc.cmd.Stdout, sc.cmd.Stderr = w, &sc.stderr
	for name, value := range s.env {
		sc.cmd.Env = append(sc.cmd.Env, name+"="+value)
	}
	if s.uid != 0 {
		sc.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.uid)}}
	}
	for _, change := range changes {
		change(sc.cmd)
	}
	require.NoError(t, sc.cmd.Start())
	go func() {
		_ = sc.cmd.Wait() // the exit code says it
		sc.endedAt = time.Now()
		sc.ended.Store(true)
	}()
	t.Cleanup(func() {
		_ = sc.cmd.Process.Kill()
		eventually(t, "its end", sc.ended.Load)
		_ = r.Close()
		if sc.cmd.ProcessState.ExitCode() != 2 { // the usage is for people
			sc.stderr.assertDiagnosticsOnly(t)
		}
	})
	return sc
}

// inShell makes the sidecar what the script runs as $0.
func inShell(script string) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) {
		cmd.Args = []string{"sh", "-c", script, cmd.Path}
		cmd.Path = "/bin/sh"
	}
}

// freePort is an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

func (sc *sidecar) read() {
	sc.reading.Go(func() { _, _ = io.Copy(&sc.out, sc.stdout) })
}

// says waits for a message, which must come once.
func (sc *sidecar) says(t *testing.T, part string) message {
	t.Helper()
	eventually(t, part, func() bool { return len(sc.stderr.messages(part)) > 0 })
	said := sc.stderr.messages(part)
	require.Len(t, said, 1, sc.stderr.String())
	return said[0]
}

func (sc *sidecar) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	require.NoError(t, sc.cmd.Process.Signal(signal))
}

// drain asks the sidecar to end, and waits until it has understood.
func (sc *sidecar) drain(t *testing.T) {
	t.Helper()
	sc.signal(t, syscall.SIGTERM)
	sc.says(t, "draining")
}

// exits waits for the end and returns the exit code.
func (sc *sidecar) exits(t *testing.T) int {
	t.Helper()
	eventually(t, "the end", sc.ended.Load)
	sc.reading.Wait() // all that it has printed is there
	return sc.cmd.ProcessState.ExitCode()
}

// stop asks the sidecar to end, and wants it to have printed everything.
func (sc *sidecar) stop(t *testing.T) {
	t.Helper()
	sc.signal(t, syscall.SIGTERM)
	require.Equal(t, 0, sc.exits(t), sc.stderr.String())
}

// fails wants exit code 1, and an error with this part.
func (sc *sidecar) fails(t *testing.T, part string) {
	t.Helper()
	require.Equal(t, 1, sc.exits(t), sc.stderr.String())
	assert.Equal(t, "ERROR", sc.says(t, part).Level)
}

// assertSmall wants the largest resident set that the process has had to be small.
func (sc *sidecar) assertSmall(t *testing.T) {
	t.Helper()
	peak := (&process{cmd: sc.cmd}).peak()
	t.Logf("peak resident set: %.1f MiB", peak)
	assert.Positive(t, peak, "known")
	assert.Less(t, peak, 16.0)
}

// prints waits for as many records as there are lines, and wants stdout to carry these
// and nothing more.
func (sc *sidecar) prints(t *testing.T, lines ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%.200q", lines), func() bool { return sc.out.lines() >= len(lines) })
	var got []string
	for line := range strings.Lines(sc.out.String()) {
		var record struct{ Raw json.RawMessage }
		require.NoError(t, json.Unmarshal([]byte(line), &record), "%.200q", line)
		require.NotEmpty(t, record.Raw, "%.200q", line)
		text := string(record.Raw)
		if text[0] == '"' {
			require.NoError(t, json.Unmarshal(record.Raw, &text))
		}
		got = append(got, text)
	}
	require.Equal(t, lines, got)
}

const numberedLine = `{"timestamp":"2026-11-22T15:43:51Z","method":"GET","path":"/n/%07d","status":200}`

// numbered returns the lines from first up to and without last, each with its \n.
func numbered(first, last int) string {
	var b strings.Builder
	for i := first; i < last; i++ {
		fmt.Fprintf(&b, numberedLine+"\n", i)
	}
	return b.String()
}

// printsNumbered waits until the lines before last are printed: each, once, in order.
func (sc *sidecar) printsNumbered(t *testing.T, last int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d lines", last), func() bool { return sc.out.lines() >= last })
	rest := sc.out.String()
	for i := range last {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		want := fmt.Sprintf(`{"raw":`+numberedLine+`,"host":`, i)
		require.True(t, strings.HasPrefix(line, want) && strings.HasSuffix(line, "}"), "line %d: %q", i, line)
	}
	require.Empty(t, rest)
}

func get(url string) error {
	response, err := http.Get(url)
	if err == nil {
		err = response.Body.Close()
	}
	return err
}

// get asks the sidecar.
func (sc *sidecar) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	response, err := http.Get("http://" + sc.address + path)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(text)
}

// metric is the value of one of the sidecar's metrics.
func (sc *sidecar) metric(t *testing.T, name string) float64 {
	t.Helper()
	_, body := sc.get(t, "/metrics")
	_, after, found := strings.Cut(body, "\nlog_sidecar_"+name+" ")
	require.True(t, found, "%s in %s", name, body)
	value, _, _ := strings.Cut(after, "\n")
	number, err := strconv.ParseFloat(value, 64)
	require.NoError(t, err)
	return number
}

const stdoutBlocked = `"stdout":"blocked"`

// becomes waits until /health says what pattern matches, and returns all that it says.
func (sc *sidecar) becomes(t *testing.T, pattern string) (body string) {
	t.Helper()
	var status int
	wanted := regexp.MustCompile(pattern)
	eventually(t, pattern, func() bool {
		status, body = sc.get(t, "/health")
		return wanted.MatchString(body)
	})
	require.Equal(t, http.StatusOK, status, "nothing that a restart of the sidecar would help")
	return body
}

// output is what a program prints; tests read it while it grows.
type output struct {
	mu       sync.Mutex
	text     bytes.Buffer // guarded by mu; what is there does not change any more
	newlines atomic.Int64
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.newlines.Add(int64(bytes.Count(p, []byte("\n"))))
	return o.text.Write(p)
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Bytes()
}

func (o *output) String() string { return string(o.bytes()) }

func (o *output) lines() int { return int(o.newlines.Load()) }

// tail is the end of what there is.
func (o *output) tail() string {
	text := o.bytes()
	return string(text[max(0, len(text)-200):])
}

// message is a line of stderr, as far as the tests look at it.
type message struct {
	Level   string
	Msg     string
	Address string
	Count   int
}

// messages are those on stderr whose msg contains part.
func (o *output) messages(part string) (found []message) {
	for line := range strings.Lines(o.String()) {
		var m message
		if json.Unmarshal([]byte(line), &m) == nil && strings.Contains(m.Msg, part) {
			found = append(found, m)
		}
	}
	return found
}

// assertDiagnosticsOnly wants stderr to be log/slog JSON, and little of it.
func (o *output) assertDiagnosticsOnly(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(o.String()) {
		var m message
		assert.NoError(t, json.Unmarshal([]byte(line), &m), line)
		assert.NotEmpty(t, m.Level, line)
		assert.NotEmpty(t, m.Msg, line)
	}
	assert.Less(t, o.lines(), 20, "diagnostics are few")
}
