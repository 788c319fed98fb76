package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/record"
	"sidecar.example/log-sidecar/internal/tail"
)

func TestHealth(t *testing.T) {
	s := newSite(t)
	sc := s.start(t)
	sc.becomes(t, "watching", func(h report) bool { return h.Watch == "inotify" })
	_, body := sc.get(t, "/health")
	assert.Regexp(t, `^\{"status":"degraded","reasons":\["file: .* does not exist"\],"lines_processed":0,"app":"unchecked",`+
		`"file":"missing","stdout":"open","watch":"inotify","lag_bytes":0,"last_line_at":null,"version":"1.2.3-test"\}\n$`, string(body))

	s.write(t, "one\ntwo\nunfinished")
	h := sc.becomes(t, "two lines and a half", func(h report) bool { return h.LinesProcessed == 2 && h.LagBytes == 10 })
	require.NotNil(t, h.LastLineAt)
	assert.WithinDuration(t, time.Now(), *h.LastLineAt, time.Minute)
	h.LastLineAt = nil
	assert.Equal(t, report{
		Status: "healthy", LinesProcessed: 2, App: "unchecked", File: "open", Stdout: "open",
		Watch: "inotify", LagBytes: 10, Version: "1.2.3-test",
	}, h)

	for _, path := range []string{"/", "/healthz", "/health/", "/debug/pprof/"} {
		status, _ := sc.get(t, path)
		assert.Equal(t, http.StatusNotFound, status, path)
	}
	response, err := http.Post("http://"+sc.address+"/health", "", nil)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
}

func TestDegradedWhileTheAppIsNotHealthy(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	healthy := func(h report) bool { return h.Status == "healthy" && h.App == "healthy" && h.Reasons == nil }
	failing := func(reason string) func(report) bool {
		return func(h report) bool {
			return h.Status == "degraded" && h.App == "failing" && len(h.Reasons) == 1 &&
				strings.HasPrefix(h.Reasons[0], "app: ") && strings.Contains(h.Reasons[0], reason)
		}
	}
	sc.becomes(t, "healthy", healthy)
	app.status.Store(http.StatusInternalServerError)
	sc.becomes(t, "failing", failing("status 500"))
	app.status.Store(0)
	sc.becomes(t, "hanging", failing("deadline exceeded"))
	app.status.Store(http.StatusNoContent)
	sc.becomes(t, "healthy again", healthy)
	app.hangUp()
	sc.becomes(t, "refusing", failing("refused"))
	app.write(t, "still followed\n")
	sc.prints(t, "still followed")
}

// net/http complains of what it reads before it has asked, which must not come to stderr.
// It does so by chance, and hardly ever on one thread.
func TestAppThatSpeaksNoHTTPIsDegraded(t *testing.T) {
	s := newSite(t)
	s.write(t, "one\n")
	address := greeter(t)
	s.set("APP_HEALTH_URL=http://"+address, "GOMAXPROCS=4")
	sc := s.start(t)
	sc.becomes(t, "failing", func(h report) bool { return h.App == "failing" })
	assert.Equal(t, 1, sc.stderr.lines(), sc.stderr.String())
}

// greeter is the address of something that speaks first, as HTTP servers never do.
func greeter(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "220 at your service\r\n")
			_, _ = conn.Read(make([]byte, 1024))
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func TestDegradedWhileTheFileIsMissing(t *testing.T) {
	s := newSite(t, "POLL_INTERVAL=20ms")
	require.NoError(t, os.Remove(filepath.Dir(s.log)))
	sc := s.start(t)
	missing := func(h report) bool {
		return h.Status == "degraded" && h.File == "missing" && len(h.Reasons) == 1 && h.Reasons[0] == "file: "+s.log+" does not exist"
	}
	open := func(h report) bool { return h.Status == "healthy" && h.File == "open" && h.Watch == "inotify" }
	sc.becomes(t, "polling", func(h report) bool { return missing(h) && h.Watch == "poll" })
	assert.EqualValues(t, 1, sc.metric(t, "polling"))
	assert.EqualValues(t, 1, sc.metric(t, "degraded"))
	require.NoError(t, os.Mkdir(filepath.Dir(s.log), 0o755))
	s.write(t, "one\n")
	sc.becomes(t, "there", open)
	require.NoError(t, os.Remove(s.log))
	sc.becomes(t, "deleted", missing)
	s.write(t, "two\n")
	sc.becomes(t, "there again", open)
	sc.prints(t, "one", "two")
}

func TestDegradedWhileTheFileCannotBeRead(t *testing.T) {
	s := newSite(t, "POLL_INTERVAL=50ms")
	s.runAs(t, nobody)
	s.write(t, "one\n")
	require.NoError(t, os.Chmod(s.log, 0o600))
	sc := s.start(t)
	sc.becomes(t, "failing", func(h report) bool {
		return h.Status == "degraded" && h.File == "failing" && len(h.Reasons) == 1 && strings.Contains(h.Reasons[0], "permission denied")
	})
	require.NoError(t, os.Chmod(s.log, 0o644))
	sc.becomes(t, "open", func(h report) bool { return h.Status == "healthy" })
	sc.prints(t, "one")
	sc.says(t, "cannot be read")
}

// All that can hang does: the app after accepting, stdout, and a client of /health
// that never ends its request.
func TestHealthAnswersWhateverHangs(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	app.status.Store(0)
	sc := s.startUnread(t)
	for range 50 {
		conn, err := net.Dial("tcp", sc.address)
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost:")
		require.NoError(t, err)
	}
	app.write(t, numbered(0, 50_000))
	h := sc.becomes(t, "all of it", func(h report) bool { return len(h.Reasons) == 2 })
	assert.Equal(t, "degraded", h.Status)
	assert.Equal(t, "failing", h.App)
	assert.Equal(t, "blocked", h.Stdout)
	assert.Contains(t, h.Reasons[1], "stdout: blocked for ")

	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			client := http.Client{Timeout: time.Second}
			response, err := client.Get("http://" + sc.address + "/health")
			if assert.NoError(t, err) {
				assert.Equal(t, http.StatusOK, response.StatusCode)
				assert.NoError(t, response.Body.Close())
			}
		})
	}
	asking.Wait()
}

// A tail loop that is dead is what a restart helps; played by one that never ran.
func TestUnhealthyWhenTheTailLoopIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		printer := record.NewPrinter(io.Discard, "pod-0", nil)
		tailer, err := tail.New(tail.Config{
			Path: t.TempDir() + "/access.log", StateDir: t.TempDir(), MaxLineBytes: 100,
			PollInterval: time.Second, Sink: printer, Log: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		handler := (&routes{cfg: &config{}, tailer: tailer, printer: printer}).handler()
		ask := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/health", http.NoBody))
			return w
		}
		time.Sleep(tailer.LongestWait() + stuckAfter) // of the bubble's clock
		assert.Equal(t, http.StatusOK, ask().Code)
		time.Sleep(time.Second)
		assert.Equal(t, http.StatusServiceUnavailable, ask().Code)
		assert.Equal(t, "application/json", ask().Header().Get("Content-Type"))
		assert.Contains(t, ask().Body.String(), `"status":"unhealthy"`)
		assert.Contains(t, ask().Body.String(), `tail loop: silent for 16s`)
	})
}

func TestMetricsAreThoseOfTheContract(t *testing.T) {
	long := strings.Repeat("long", 100)
	s := newSite(t, "MAX_LINE_BYTES=100")
	sc := s.start(t)
	s.write(t, "text\n{}\n"+long+"\n")
	s.rotate(t)
	s.write(t, "after a rotation\n")
	sc.prints(t, "text", "{}", long[:100], long[100:200], long[200:300], long[300:], "after a rotation")
	require.NoError(t, os.Truncate(s.log, 0))
	s.write(t, "after a truncation\n")
	eventually(t, "the line after the truncation", func() bool {
		return sc.metric(t, "lines_total") == 5 && sc.metric(t, "lag_bytes") == 0
	})

	for name, want := range map[string]float64{
		"bytes_total":           float64(len("text\n{}\n") + 401 + len("after a rotation\n") + len("after a truncation\n")),
		"lag_bytes":             0,
		"rotations_total":       1,
		"truncations_total":     1,
		"gaps_total":            0,
		"malformed_lines_total": 3,
		"split_lines_total":     1,
		"degraded":              0,
		"polling":               0,

		`build_info{version="1.2.3-test"}`: 1,
	} {
		assert.InDelta(t, want, sc.metric(t, name), 0, name)
	}
	assert.Positive(t, sc.metric(t, "write_blocked_seconds_total"))
}

func TestPromtoolChecksTheMetrics(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: it comes with Debian's package prometheus")
	}
	_, body := newSite(t).start(t).get(t, "/metrics")
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = bytes.NewReader(body)
	said, err := check.CombinedOutput()
	assert.NoError(t, err)
	assert.Empty(t, string(said))
}

func TestGapIsCountedAndSaid(t *testing.T) {
	s := newSite(t)
	s.write(t, "one\n")
	first := s.start(t)
	first.prints(t, "one")
	first.stop(t)
	s.write(t, "lost\n")
	require.NoError(t, os.Remove(s.log))
	s.write(t, "kept\n")

	second := s.start(t)
	second.prints(t, "kept")
	eventually(t, "a gap", func() bool { return second.metric(t, "gaps_total") == 1 })
	second.says(t, "lines may be missing")
}

// run itself, so that the race detector sees it: lines, probes and the drain at once.
func TestRunInThisProcess(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := &sidecar{ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(sc.ended)
		assert.NoError(t, run(ctx, t.Context(), nil, s.lookup, &sc.out, &sc.stderr))
	}()
	sc.awaitServing(t)

	var probing sync.WaitGroup
	for _, path := range []string{"/health", "/metrics"} {
		probing.Go(func() {
			for range 20 {
				assert.NoError(t, get("http://"+sc.address+path))
			}
		})
	}
	for i := range 10 {
		app.write(t, numbered(100*i, 100*(i+1)))
		if i%3 == 2 {
			app.rotate(t)
		}
	}
	sc.printsNumbered(t, 1000)
	probing.Wait()
	cancel()
	app.write(t, numbered(1000, 1001))
	app.end(t)
	eventually(t, "the end", sc.hasEnded)
	sc.printsNumbered(t, 1001)
	sc.stderr.assertDiagnosticsOnly(t)
	assert.Error(t, get("http://"+sc.address+"/health"), "the port is closed")
}
