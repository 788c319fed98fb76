package main

import (
	"os"
	"os/exec"
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
	h := sc.isBlocked(t)
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

// As Node.js does to a pipe that it shares, while the sidecar runs.
func TestStdoutMadeNonBlockingIsWaitedFor(t *testing.T) {
	const lines = 20_000
	s := newSite(t)
	var shared int
	sc := s.startPiped(t, func(cmd *exec.Cmd) {
		var err error
		shared, err = syscall.Dup(int(cmd.Stdout.(*os.File).Fd()))
		require.NoError(t, err)
	})
	sc.awaitServing(t)
	require.NoError(t, syscall.SetNonblock(shared, true))
	s.write(t, numbered(0, lines))
	sc.isBlocked(t)
	require.NoError(t, syscall.Close(shared)) // or the pipe would not end with the sidecar
	sc.read()
	sc.printsNumbered(t, lines)
	sc.stop(t)
}

// What was printed into the void is not counted as printed: the next one prints it.
func TestClosedStdoutIsAnError(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines int // more than the pipe takes: it blocks when it is closed
	}{{"before the next line", 1}, {"while it blocks", 10_000}} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			s.write(t, numbered(0, test.lines))
			first := s.startUnread(t)
			if test.lines == 1 {
				eventually(t, "the position", func() bool { return first.metric(t, "lines_total") == 1 })
			} else {
				first.isBlocked(t)
			}
			require.NoError(t, first.stdout.Close())
			s.write(t, "last\n")
			first.failsToPrint(t, "write /dev/stdout: broken pipe")
			second := s.start(t)
			eventually(t, "the last line", func() bool { return strings.Contains(second.out.tail(), `{"raw":"last"`) })
			assert.Equal(t, test.lines == 1, second.out.lines() == 1, "what was printed before")
		})
	}
}

func (sc *sidecar) failsToPrint(t *testing.T, why string) {
	t.Helper()
	assert.Equal(t, 1, sc.exits(t))
	said := sc.stderr.messages(why)
	require.Len(t, said, 1, sc.stderr.String())
	assert.Equal(t, "ERROR", said[0].Level)
}

// Records that go nowhere must not count as printed.
func TestStdoutClosedBeforeTheStart(t *testing.T) {
	r, readerGone, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	for _, test := range []struct {
		name   string
		stdout *os.File
		script string
		why    string
	}{
		{"closed", open(t, os.DevNull), `exec "$0" >&-`, "stdout is closed"},
		{"no reader", readerGone, `exec "$0"`, "write /dev/stdout: broken pipe"},
		{"full disk", open(t, "/dev/full"), `exec "$0"`, "no space left on device"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			s.write(t, "one\n")
			s.startWith(t, test.stdout, inShell(test.script)).failsToPrint(t, test.why)
			s.start(t).prints(t, "one")
		})
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	return file
}

func TestStdoutMayBeDevNull(t *testing.T) {
	s := newSite(t)
	s.write(t, "one\n")
	sc := s.startWith(t, open(t, os.DevNull))
	sc.awaitServing(t)
	eventually(t, "the line", func() bool { return sc.metric(t, "lines_total") == 1 })
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
