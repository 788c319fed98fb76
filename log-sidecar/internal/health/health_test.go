package health

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	brief   = 50 * time.Millisecond // for an app that is known not to answer
	patient = 10 * time.Second      // for one that does
)

func newApp(t *testing.T, target string, timeout time.Duration) *App {
	t.Helper()
	app, err := NewApp(target, timeout)
	require.NoError(t, err)
	return app
}

// answering is the address of an app that serves HTTP until the test ends.
func answering(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// hang answers nothing more for as long as somebody waits for it.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// say answers words, which need not be HTTP.
func say(words string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(conn, words)
			_ = conn.Close()
		}
	}
}

// overloaded is the address of an app that is so far behind that the kernel makes
// no more connections for it, and that does not refuse them either.
func overloaded(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	socket, err := listener.(*net.TCPListener).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, socket.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }))
	for err == nil { // fills the queue
		var conn net.Conn
		if conn, err = net.DialTimeout("tcp", listener.Addr().String(), brief); err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		}
	}
	require.True(t, os.IsTimeout(err), err)
	return "http://" + listener.Addr().String()
}

// As the kubelet does, it asks an app whose certificate nobody has signed.
func TestCertificatesAreNotVerified(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	app := newApp(t, server.URL, patient)
	require.EqualError(t, app.Check(), "status 404")
	ended, known := app.Ended()
	assert.False(t, ended)
	assert.True(t, known)
}

func TestURLs(t *testing.T) {
	for _, target := range []string{
		"", "localhost:8080", "localhost:8080/healthz", "/healthz", "http://", "http:///healthz", "http://:8080/",
		"ftp://localhost/", "unix:///run/app.sock", "http://local host/", "http://localhost:port/", "http://localhost:65536/",
		"http://localhost:0/", "http://[::1/", "://", "http://localhost/%zz",
	} {
		_, err := NewApp(target, patient)
		assert.Error(t, err, target)
	}
	for _, target := range []string{"http://localhost:8080/healthz", "https://app", "http://[::1]:80", "http://10.0.0.1/?a=b", "HTTP://app/", "http://app:/"} {
		newApp(t, target, patient)
	}
}

func TestStatusFrom200To399IsHealthy(t *testing.T) {
	var asked *http.Request
	status := 0
	url := answering(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.Header().Set("Location", "http://"+r.Host+"/moved")
		w.WriteHeader(status)
		_ = http.NewResponseController(w).Flush()
		hang(w, r) // a body that never comes
	}) + "/healthz?full=1"
	began := time.Now()
	for _, status = range []int{200, 204, 299, 301, 302, 307, 399} {
		require.NoError(t, newApp(t, url, patient).Check(), status)
		assert.Equal(t, "GET /healthz?full=1", asked.Method+" "+asked.RequestURI, "a redirect is not followed")
		assert.True(t, asked.Close, "the app's shutdown must not wait for a connection of ours")
	}
	for _, status = range []int{400, 404, 429, 500, 503} {
		require.ErrorContains(t, newApp(t, url, patient).Check(), fmt.Sprintf("status %d", status))
	}
	assert.Less(t, time.Since(began), patient, "the body is not waited for")
}

// However much the app says, little of it is read, and less of it repeated.
func TestAnswerThatIsNoHTTP(t *testing.T) {
	for name, words := range map[string]string{
		"no line":     strings.Repeat("\x01", 1<<20),
		"long line":   strings.Repeat("\"no\" ", 1<<20) + "\r\n",
		"bad header":  "HTTP/1.1 200 OK\r\n\x1b[31m\u009b\xff" + strings.Repeat("é", 500) + "\r\n\r\n",
		"long header": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n",
		"bad status":  "HTTP/1.1 \x7f" + strings.Repeat("2", 1000) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			err := newApp(t, answering(t, say(words)), patient).Check()
			require.Error(t, err)
			assert.LessOrEqual(t, len(err.Error()), 2*maxError)
			assert.Equal(t, -1, strings.IndexFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }), err)
		})
	}
}

// The sidecar is no amplifier: who asks it often does not make it ask the app often.
func TestAnswerIsShared(t *testing.T) {
	var asked atomic.Int64
	app := newApp(t, answering(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(brief) // so that the others come meanwhile
		w.WriteHeader(int(500 + asked.Add(1)))
	}), patient)
	var asking sync.WaitGroup
	for range 100 {
		asking.Go(func() { assert.EqualError(t, app.Check(), "status 501") })
	}
	asking.Wait()
	app.checkedAt = app.checkedAt.Add(-shareFor)
	assert.EqualError(t, app.Check(), "status 502", "an old answer is none")
}

func TestAppThatDoesNotAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		target  string
		timeout time.Duration
		running bool // or it is not known
	}{
		"no HTTP":    {answering(t, say("SSH-2.0-OpenSSH_10.0\r\n")), patient, true},
		"hangs":      {answering(t, hang), brief, true},
		"overloaded": {overloaded(t), brief, true},
		"no app":     {"http://127.0.0.1:1", patient, false},
		"no host":    {"http://no-such-host.invalid", patient, false},
	} {
		t.Run(name, func(t *testing.T) {
			app := newApp(t, test.target, test.timeout)
			began := time.Now()
			require.Error(t, app.Check())
			ended, known := app.Ended()
			assert.False(t, ended)
			assert.Equal(t, test.running, known)
			assert.Less(t, time.Since(began), patient)
		})
	}
}

// Only a port that was open once and refuses connections proves that the app has ended.
func TestEnded(t *testing.T) {
	for name, ask := range map[string]func(*App){
		"after a check":     func(app *App) { _ = app.Check() },
		"after being asked": func(app *App) { _, _ = app.Ended() },
	} {
		server := httptest.NewServer(http.NotFoundHandler())
		app := newApp(t, server.URL, patient)
		ask(app)
		server.Close()
		ended, known := app.Ended()
		assert.True(t, ended && known, name)
	}
}

func TestEndedAsksThePortOfTheScheme(t *testing.T) {
	for target, port := range map[string]string{"http://127.0.0.1": "80", "https://127.0.0.1/": "443", "http://127.0.0.1:": "80"} {
		if conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, brief); err == nil {
			_ = conn.Close()
			t.Skipf("something listens on port %s of this machine", port)
		}
		app := newApp(t, target, patient)
		app.answered.Store(true)
		ended, known := app.Ended()
		assert.True(t, ended && known, target)
	}
}
