package main

import (
	"encoding/json"
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

// degradedBy is how /health begins where reason is all that is wrong.
func degradedBy(reason string) string { return `^{"status":"degraded","reasons":\["` + reason + `"\],` }

func TestHealth(t *testing.T) {
	s := newSite(t, "POLL_INTERVAL=20ms")
	require.NoError(t, os.Remove(filepath.Dir(s.log)))
	sc := s.start(t)
	missing := degradedBy("file: " + s.log + " does not exist")
	sc.becomes(t, missing+`"lines_processed":0,"app":"unchecked","file":"missing",`+
		`"stdout":"open","watch":"poll","lag_bytes":0,"last_line_at":null,"version":"1.2.3-test"}\n$`)
	assert.EqualValues(t, 1, sc.metric(t, "polling"))
	assert.EqualValues(t, 1, sc.metric(t, "degraded"))
	require.NoError(t, os.Mkdir(filepath.Dir(s.log), 0o755))
	s.write(t, "one\ntwo\nunfinished")
	body := sc.becomes(t, `^{"status":"healthy","lines_processed":2,"app":"unchecked","file":"open",`+
		`"stdout":"open","watch":"inotify","lag_bytes":10,"last_line_at":"[0-9T:-]+(\.\d{1,3})?Z","version":"1.2.3-test"}\n$`)
	var h report
	require.NoError(t, json.Unmarshal([]byte(body), &h))
	assert.WithinDuration(t, time.Now(), *h.LastLineAt, time.Minute)
	s.write(t, "\n")
	require.NoError(t, os.Remove(s.log))
	sc.becomes(t, missing)
	s.write(t, "three\n")
	sc.becomes(t, `^{"status":"healthy"`)
	sc.prints(t, "one", "two", "unfinished", "three")

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
	s := newSite(t, "GOMAXPROCS=4")
	app := s.newApp(t)
	sc := s.start(t)
	failing := func(reason string) string { return degradedBy(`app: [^"]*`+reason) + `.*"app":"failing"` }
	const healthy = `^{"status":"healthy","lines_processed":0,"app":"healthy"`
	sc.becomes(t, healthy)
	app.status.Store(http.StatusInternalServerError)
	sc.becomes(t, failing("status 500"))
	app.status.Store(0)
	sc.becomes(t, failing(`deadline exceeded[^"]*`))
	app.status.Store(http.StatusNoContent)
	sc.becomes(t, healthy)
	app.greets.Store(true)
	sc.becomes(t, failing("malformed HTTP.*"))
	app.hangUp()
	sc.becomes(t, failing("refused"))
	app.write(t, "still followed\n")
	sc.prints(t, "still followed")
	// What net/http says by itself of an app that greets it does not belong there. It does
	// so by chance, and hardly ever on one thread.
	assert.Equal(t, 1, sc.stderr.lines(), sc.stderr.String())
}

func TestDegradedWhileTheFileCannotBeRead(t *testing.T) {
	s := newSite(t, "POLL_INTERVAL=50ms")
	s.runAsNobody(t)
	s.write(t, "one\n")
	require.NoError(t, os.Chmod(s.log, 0o600))
	sc := s.start(t)
	sc.becomes(t, degradedBy(`file: [^"]*permission denied[^"]*`)+`.*"file":"failing"`)
	require.NoError(t, os.Chmod(s.log, 0o644))
	sc.becomes(t, `^{"status":"healthy"`)
	sc.prints(t, "one")
	sc.says(t, "cannot be read")
}

// All that can hang does: the app after accepting, stdout, and more clients of /health
// than may connect, in the middle of headers that are as long as may be.
func TestHealthAnswersWhateverHangs(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	app.status.Store(0)
	sc := s.startUnread(t)
	for range 5 * maxConnections {
		conn, err := net.Dial("tcp", sc.address)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(time.Second)))
		_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("X: "+strings.Repeat("x", 995)+"\r\n", 7))
	}
	app.write(t, numbered(0, 50_000))
	eventually(t, "stdout blocked", func() bool { return sc.metric(t, "write_blocked_seconds_total") > 1.5 })
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() {
			began := time.Now()
			assert.NoError(t, get("http://"+sc.address+"/health"))
			assert.Less(t, time.Since(began), time.Second)
		})
	}
	asking.Wait()
	sc.becomes(t, degradedBy(`app: [^"]*","stdout: blocked for \d+s`)+`.*"app":"failing",.*`+stdoutBlocked)
	sc.assertSmall(t)
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
	s := newSite(t, "MAX_LINE_BYTES=100")
	s.write(t, "printed\n")
	s.start(t).stop(t)
	s.write(t, "lost\n")
	require.NoError(t, os.Remove(s.log))

	long := strings.Repeat("long", 100)
	s.write(t, "text\n{}\n"+long+"\n")
	sc := s.start(t)
	sc.says(t, "lines may be missing")
	s.rotate(t)
	s.write(t, "after a rotation\n")
	sc.prints(t, "text", "{}", long[:100], long[100:200], long[200:300], long[300:], "after a rotation")
	require.NoError(t, os.Truncate(s.log, 0))
	s.write(t, "after a truncation\n")
	sc.becomes(t, `"lines_processed":5,.*"lag_bytes":0`)

	for name, want := range map[string]float64{
		"lines_total":           5,
		"bytes_total":           float64(len("text\n{}\n") + 401 + len("after a rotation\n") + len("after a truncation\n")),
		"lag_bytes":             0,
		"files":                 1,
		"rotations_total":       1,
		"truncations_total":     1,
		"gaps_total":            1,
		"malformed_lines_total": 3,
		"split_lines_total":     1,
		"degraded":              0,
		"polling":               0,

		`build_info{version="1.2.3-test"}`: 1,
	} {
		assert.InDelta(t, want, sc.metric(t, name), 0, name)
	}
	assert.Positive(t, sc.metric(t, "write_blocked_seconds_total"))

	t.Run("promtool", func(t *testing.T) {
		promtool, err := exec.LookPath("promtool")
		if err != nil {
			t.Skip("promtool is not installed: it comes with Debian's package prometheus")
		}
		_, body := sc.get(t, "/metrics")
		check := exec.Command(promtool, "check", "metrics")
		check.Stdin = strings.NewReader(body)
		said, err := check.CombinedOutput()
		assert.NoError(t, err)
		assert.Empty(t, string(said))
	})
}
