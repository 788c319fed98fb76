package main

import (
	"bufio"
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
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "log-sidecar-test")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "log-sidecar")
	build := exec.Command("go", "build", "-trimpath", "-tags", "nethttpomithttp2",
		"-ldflags", "-s -w -X main.version=1.2.3-test", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "go build:", err)
		return 1
	}
	// Some tests run it as another user.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nothing in it is secret
		panic(err)
	}
	return m.Run()
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
	value, ok := s.env[name]
	return value, ok
}

// runAs makes uid the sidecar's user, and the owner of the positions.
func (s *site) runAs(t *testing.T, uid int) {
	t.Helper()
	needRoot(t)
	s.uid = uid
	require.NoError(t, os.Chown(s.env["STATE_DIR"], uid, uid))
}

const (
	nobody   = 65_532 // the user that the image runs as
	stranger = 65_531 // whom nothing else on the machine runs as
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to run a process as another user")
	}
}

func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = []string{} // nil would be the test's own
	for name, value := range s.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if s.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.uid)}}
	}
	return cmd
}

// write appends to the log as an app does that opens it anew for each line.
func (s *site) write(t *testing.T, text string) {
	t.Helper()
	file := openLog(t, s.log)
	_, err := file.WriteString(text)
	require.NoError(t, err)
	require.NoError(t, file.Close())
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

func openLog(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	require.NoError(t, err)
	return file
}

// An app holds the log open and answers health checks, as the real one does.
type app struct {
	site   *site
	file   *os.File
	server *httptest.Server
	status atomic.Int64  // the answer; 0: none
	asked  atomic.Int64  // connections made to it
	over   chan struct{} // closed at its end
	closed sync.Once
}

// newApp starts an app; the site's sidecars ask it from then on.
func (s *site) newApp(t *testing.T) *app {
	t.Helper()
	a := &app{site: s, file: openLog(t, s.log), over: make(chan struct{})}
	a.status.Store(http.StatusOK)
	a.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status := int(a.status.Load()); status != 0 {
			w.WriteHeader(status)
			return
		}
		<-a.over
	}))
	a.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			a.asked.Add(1)
		}
	}
	a.server.Start()
	s.set("APP_HEALTH_URL=" + a.server.URL + "/healthz")
	t.Cleanup(func() { a.end(t) })
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
	a.letGo(t)
	a.file = openLog(t, a.site.log)
}

// letGo closes the log.
func (a *app) letGo(t *testing.T) {
	t.Helper()
	if a.file != nil {
		require.NoError(t, a.file.Close())
		a.file = nil
	}
}

// hangUp closes the port.
func (a *app) hangUp() {
	a.closed.Do(func() {
		close(a.over)
		a.server.Close()
	})
}

// isAsked waits until a sidecar knows that the app's port is open.
func (a *app) isAsked(t *testing.T) {
	t.Helper()
	eventually(t, "a connection", func() bool { return a.asked.Load() > 0 })
}

// isAskedAgain waits until a sidecar has seen that the app is there still.
func (a *app) isAskedAgain(t *testing.T) {
	t.Helper()
	asked := a.asked.Load()
	eventually(t, "more connections", func() bool { return a.asked.Load() >= asked+5 })
}

// end ends the app and returns when that was.
func (a *app) end(t *testing.T) time.Time {
	t.Helper()
	a.hangUp()
	a.letGo(t)
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
	ended   chan struct{}
	endedAt time.Time // set when ended is closed
}

// start starts a sidecar whose stdout is read.
func (s *site) start(t *testing.T) *sidecar {
	t.Helper()
	sc := s.startUnread(t)
	sc.read()
	return sc
}

// startUnread starts a sidecar whose stdout nobody reads, until read is called.
func (s *site) startUnread(t *testing.T) *sidecar {
	t.Helper()
	sc := s.startPiped(t)
	sc.awaitServing(t)
	return sc
}

// startPiped does not wait for it.
func (s *site) startPiped(t *testing.T, changes ...func(*exec.Cmd)) *sidecar {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	sc := s.startWith(t, w, changes...)
	sc.stdout = r
	return sc
}

// startWith starts a sidecar with the given stdout, and does not wait for it.
func (s *site) startWith(t *testing.T, stdout *os.File, changes ...func(*exec.Cmd)) *sidecar {
	t.Helper()
	sc := &sidecar{cmd: s.command(), ended: make(chan struct{})}
	sc.cmd.Stdout, sc.cmd.Stderr = stdout, &sc.stderr
	for _, change := range changes {
		change(sc.cmd)
	}
	require.NoError(t, sc.cmd.Start())
	require.NoError(t, stdout.Close())
	go func() {
		_ = sc.cmd.Wait() // the exit code says it
		sc.endedAt = time.Now()
		close(sc.ended)
	}()
	t.Cleanup(func() {
		_ = sc.cmd.Process.Kill()
		<-sc.ended
		sc.stderr.assertDiagnosticsOnly(t)
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

// startMute starts a sidecar that may have no way to say where it serves.
func (s *site) startMute(t *testing.T, changes ...func(*exec.Cmd)) *sidecar {
	t.Helper()
	address := freePort(t)
	s.set("LISTEN_ADDR=" + address)
	sc := s.startPiped(t, changes...)
	sc.address = address
	eventually(t, "serving", func() bool { return get("http://"+address+"/metrics") == nil })
	return sc
}

// freePort is an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

// says waits for a message, which must come once.
func (sc *sidecar) says(t *testing.T, part string) {
	t.Helper()
	eventually(t, part, func() bool { return len(sc.stderr.messages(part)) > 0 })
	require.Len(t, sc.stderr.messages(part), 1)
}

func (sc *sidecar) awaitServing(t *testing.T) {
	t.Helper()
	sc.says(t, "following")
	sc.address = sc.stderr.messages("following")[0].Address
}

func (sc *sidecar) read() {
	sc.reading.Go(func() { _, _ = io.Copy(&sc.out, sc.stdout) })
}

func (sc *sidecar) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	require.NoError(t, sc.cmd.Process.Signal(signal))
}

// drain asks the sidecar to end, and waits until it has understood.
func (sc *sidecar) drain(t *testing.T) {
	t.Helper()
	sc.signal(t, syscall.SIGTERM)
	eventually(t, "draining", func() bool { return sc.hasEnded() || len(sc.stderr.messages("draining")) == 1 })
}

func (sc *sidecar) hasEnded() bool {
	select {
	case <-sc.ended:
		return true
	default:
		return false
	}
}

// exits waits for the end and returns the exit code.
func (sc *sidecar) exits(t *testing.T) int {
	t.Helper()
	select {
	case <-sc.ended:
		sc.reading.Wait() // all that it has printed is there
		return sc.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		require.Fail(t, "does not end", sc.stderr.String())
		return -1
	}
}

// stop asks the sidecar to end, and wants it to have printed everything.
func (sc *sidecar) stop(t *testing.T) {
	t.Helper()
	sc.signal(t, syscall.SIGTERM)
	require.Equal(t, 0, sc.exits(t), sc.stderr.String())
}

// assertSmall wants the largest resident set that the process has had to be small.
func (sc *sidecar) assertSmall(t *testing.T) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", sc.cmd.Process.Pid))
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib int
	_, err = fmt.Sscan(after, &kib)
	require.NoError(t, err)
	t.Logf("peak resident set: %.1f MiB", float64(kib)/1024)
	assert.Less(t, kib, 16<<10)
}

// An entry is a record as a collector reads it.
type entry struct {
	Raw         json.RawMessage
	Host        string
	ProcessedAt string `json:"processed_at"`
	Partial     bool
}

// text is the line that the record carries.
func (r entry) text(t *testing.T) string {
	t.Helper()
	if r.Raw[0] != '"' {
		return string(r.Raw)
	}
	var s string
	require.NoError(t, json.Unmarshal(r.Raw, &s))
	return s
}

// records are all that stand on stdout; nothing else may.
func (sc *sidecar) records(t *testing.T) []entry {
	t.Helper()
	var all []entry
	for line := range strings.Lines(sc.out.String()) {
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		var r entry
		require.NoError(t, decoder.Decode(&r), "%.200q", line)
		require.NotEmpty(t, r.Raw, "%.200q", line)
		all = append(all, r)
	}
	return all
}

// prints waits for as many records as there are lines, and wants them to carry
// these and nothing more.
func (sc *sidecar) prints(t *testing.T, lines ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%.200q", lines), func() bool { return sc.out.lines() >= len(lines) })
	sc.hasPrinted(t, lines...)
}

func (sc *sidecar) hasPrinted(t *testing.T, lines ...string) {
	t.Helper()
	var got []string
	for _, r := range sc.records(t) {
		got = append(got, r.text(t))
	}
	require.Equal(t, lines, got)
}

// numbered returns the lines from first up to and without last, each with its \n.
func numbered(first, last int) string {
	var b strings.Builder
	for i := first; i < last; i++ {
		fmt.Fprintf(&b, `{"timestamp":"2026-11-22T15:43:51Z","method":"GET","path":"/n/%07d","status":200}`+"\n", i)
	}
	return b.String()
}

// printsNumbered waits until the lines before last are printed: each, once, in order.
func (sc *sidecar) printsNumbered(t *testing.T, last int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d lines", last), func() bool { return sc.out.lines() >= last })
	i := 0
	for line := range strings.Lines(sc.out.String()) {
		want := fmt.Sprintf(`{"raw":{"timestamp":"2026-11-22T15:43:51Z","method":"GET","path":"/n/%07d","status":200},"host":`, i)
		require.True(t, strings.HasPrefix(line, want) && strings.HasSuffix(line, "}\n"), "line %d: %q", i, line)
		i++
	}
	require.Equal(t, last, i)
}

// pathIn is the path of the access line that a record carries.
func pathIn(record string) string {
	_, after, _ := strings.Cut(record, `"path":"`)
	path, _, _ := strings.Cut(after, `"`)
	return path
}

// get asks the sidecar.
func (sc *sidecar) get(t *testing.T, path string) (status int, body []byte) {
	t.Helper()
	client := http.Client{Timeout: patience}
	response, err := client.Get("http://" + sc.address + path)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, body
}

// metric is the value of one of the sidecar's metrics.
func (sc *sidecar) metric(t *testing.T, name string) float64 {
	t.Helper()
	_, body := sc.get(t, "/metrics")
	_, after, found := strings.Cut(string(body), "\nlog_sidecar_"+name+" ")
	require.True(t, found, "%s in %s", name, body)
	value, _, _ := strings.Cut(after, "\n")
	number, err := strconv.ParseFloat(value, 64)
	require.NoError(t, err)
	return number
}

func (sc *sidecar) health(t *testing.T) (status int, body report) {
	t.Helper()
	status, data := sc.get(t, "/health")
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&body), "%s", data)
	return status, body
}

// becomes waits until /health says what condition looks for.
func (sc *sidecar) becomes(t *testing.T, what string, condition func(report) bool) report {
	t.Helper()
	var status int
	var body report
	eventually(t, what, func() bool {
		status, body = sc.health(t)
		return condition(body)
	})
	require.Equal(t, http.StatusOK, status, "nothing that a restart of the sidecar would help")
	return body
}

// isBlocked waits until /health says that nobody reads stdout.
func (sc *sidecar) isBlocked(t *testing.T) report {
	t.Helper()
	return sc.becomes(t, "blocked", func(h report) bool { return h.Stdout == "blocked" })
}

// output is what a program prints; tests read it while it grows.
type output struct {
	mu       sync.Mutex // protects following
	text     bytes.Buffer
	newlines int
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.newlines += bytes.Count(p, []byte("\n"))
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) lines() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.newlines
}

// tail is the end of what there is.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text.Bytes()[max(0, o.text.Len()-200):])
}

// message is a line of stderr, as far as the tests look at it.
type message struct {
	Level   string
	Msg     string
	Address string
	Count   int
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

// assertDiagnosticsOnly wants stderr to be log/slog JSON, and little of it.
func (o *output) assertDiagnosticsOnly(t *testing.T) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(o.String()))
	n := 0
	for ; lines.Scan(); n++ {
		var m message
		assert.NoError(t, json.Unmarshal(lines.Bytes(), &m), lines.Text())
		assert.NotEmpty(t, m.Level, lines.Text())
		assert.NotEmpty(t, m.Msg, lines.Text())
	}
	assert.NoError(t, lines.Err())
	assert.Less(t, n, 20, "diagnostics are few")
}
