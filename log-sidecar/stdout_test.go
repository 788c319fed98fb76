package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStdoutThatNobodyReadsIsWaitedFor(t *testing.T) {
	const lines = 200_000
	s := newSite(t)
	app := s.newApp(t)
	sc := s.startUnread(t)
	written := 0
	for n := range 20 {
		text := numbered(n*lines/20, (n+1)*lines/20)
		app.write(t, text)
		written += len(text)
		if n == 10 {
			app.rotate(t)
		}
	}
	h := sc.becomes(t, "blocked", func(h report) bool { return h.Stdout == "blocked" })
	assert.Equal(t, "degraded", h.Status)
	assert.Equal(t, "open", h.File)
	assert.Greater(t, sc.metric(t, "lag_bytes"), 0.9*float64(written))
	waited := sc.metric(t, "write_blocked_seconds_total")
	assert.Greater(t, waited, 0.9)
	eventually(t, "the time goes on", func() bool { return sc.metric(t, "write_blocked_seconds_total") > waited })
	sc.assertSmall(t)

	sc.read()
	sc.printsNumbered(t, lines)
	sc.becomes(t, "healthy, and no lag", func(h report) bool {
		return h.Status == "healthy" && h.Stdout == "open" && h.LagBytes == 0 && h.LinesProcessed == lines
	})
	assert.Zero(t, sc.metric(t, "lag_bytes"))
	sc.assertSmall(t)
}

// As Node.js does to a pipe that it shares.
func TestStdoutThatSomebodyMakesNonBlockingIsWaitedFor(t *testing.T) {
	const lines = 20_000
	s := newSite(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	shared, err := syscall.Dup(int(w.Fd()))
	require.NoError(t, err)
	defer syscall.Close(shared)
	sc := s.startWith(t, w)
	sc.stdout = r
	sc.awaitServing(t)
	require.NoError(t, syscall.SetNonblock(shared, true))
	s.write(t, numbered(0, lines))
	sc.becomes(t, "blocked", func(h report) bool { return h.Stdout == "blocked" })
	sc.read()
	sc.printsNumbered(t, lines)
	sc.signal(t, syscall.SIGTERM)
	assert.Zero(t, sc.exits(t), sc.stderr.String())
}

// What was printed into the void is not counted as printed: the next one prints it.
func TestClosedStdoutIsAnError(t *testing.T) {
	s := newSite(t)
	s.write(t, "one\n")
	first := s.start(t)
	first.prints(t, "one")
	eventually(t, "the checkpoint", func() bool { return first.metric(t, "lag_bytes") == 0 })
	require.NoError(t, first.stdout.Close())
	s.write(t, "two\n")
	assertStdoutClosed(t, first)
	s.start(t).prints(t, "two")
}

func TestStdoutWithoutReaderAtTheStartIsAnError(t *testing.T) {
	s := newSite(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	sc := s.startWith(t, w)
	s.write(t, "one\n")
	assertStdoutClosed(t, sc)
}

// Records that go nowhere must not count as printed.
func TestStdoutClosedBeforeTheStartIsAnError(t *testing.T) {
	s := newSite(t)
	s.write(t, "one\n")
	sc := &sidecar{cmd: s.command()}
	inShell(t, sc.cmd, `exec "$0" >&-`)
	sc.cmd.Stderr = &sc.stderr
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	sc.startWith(t, null)
	assert.Equal(t, 1, sc.exits(t))
	assert.Len(t, sc.stderr.messages("stdout is closed"), 1, sc.stderr.String())
	kept, err := filepath.Glob(s.env["STATE_DIR"] + "/*")
	require.NoError(t, err)
	assert.Empty(t, kept)
	s.start(t).prints(t, "one")
}

func TestStdoutMayBeDevNull(t *testing.T) {
	s := newSite(t)
	s.write(t, "one\n")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	sc := s.startWith(t, null)
	sc.awaitServing(t)
	eventually(t, "the line", func() bool { return sc.metric(t, "lines_total") == 1 })
}

func TestStdoutClosedWhileItBlocksIsAnError(t *testing.T) {
	s := newSite(t)
	s.write(t, numbered(0, 10_000))
	sc := s.startUnread(t)
	sc.becomes(t, "blocked", func(h report) bool { return h.Stdout == "blocked" })
	require.NoError(t, sc.stdout.Close())
	assertStdoutClosed(t, sc)
}

func TestStdoutOnAFullDiskIsAnError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	s := newSite(t)
	sc := s.startWith(t, full)
	s.write(t, "one\n")
	assert.Equal(t, 1, sc.exits(t))
	assert.Len(t, sc.stderr.messages("no space left on device"), 1)
}

// A slow reader gets smaller parts, and never a part of a record that fits into one.
func TestPartsOfABatch(t *testing.T) {
	record := strings.Repeat("x", 99) + "\n"
	for _, test := range []struct {
		name  string
		slow  bool
		batch string
		most  int
		whole bool // each part ends with a record
	}{
		{"fast", false, fill(record, 200_000), fastPart, true},
		{"slow", true, fill(record, 200_000), slowPart, true},
		{"long record, fast", false, fill("x", 200_000) + "\n" + record, fastPart, false},
		{"long record, slow", true, fill("x", 20_000) + "\n" + record, slowPart, false},
		{"nothing", true, "", 0, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parts := &parts{}
				if test.slow {
					parts.takes = slowAfter + 1
				}
				w := &pacedWriter{w: parts, slow: test.slow}
				n, err := w.Write([]byte(test.batch))
				require.NoError(t, err)
				assert.Equal(t, len(test.batch), n)
				assert.EqualValues(t, n, w.accepted.Load())
				assert.Equal(t, test.batch, strings.Join(parts.all, ""))
				for _, part := range parts.all {
					assert.LessOrEqual(t, len(part), test.most)
					assert.True(t, !test.whole || strings.HasSuffix(part, "\n"))
				}
			})
		})
	}
}

func fill(pattern string, n int) string { return strings.Repeat(pattern, n/len(pattern)) }

// parts keeps what each write brings.
type parts struct {
	all   []string
	takes time.Duration
}

func (p *parts) Write(b []byte) (int, error) {
	time.Sleep(p.takes) // of the bubble's clock
	p.all = append(p.all, string(b))
	return len(b), nil
}

func assertStdoutClosed(t *testing.T, sc *sidecar) {
	t.Helper()
	assert.Equal(t, 1, sc.exits(t))
	said := sc.stderr.messages("write /dev/stdout: broken pipe")
	require.Len(t, said, 1, sc.stderr.String())
	assert.Equal(t, "ERROR", said[0].Level)
}
