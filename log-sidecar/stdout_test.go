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
	for n := range 20 {
		app.write(t, numbered(n*lines/20, (n+1)*lines/20))
		if n == 10 {
			app.rotate(t)
		}
	}
	sc.becomes(t, `^{"status":"degraded",.*"file":"open",`+stdoutBlocked)
	assert.Greater(t, sc.metric(t, "lag_bytes"), 0.9*float64(lines*len(numbered(0, 1))))
	waited := sc.metric(t, "write_blocked_seconds_total")
	assert.Greater(t, waited, 0.9)
	eventually(t, "the time goes on", func() bool { return sc.metric(t, "write_blocked_seconds_total") > waited })
	sc.assertSmall(t)

	sc.read()
	sc.printsNumbered(t, lines)
	sc.becomes(t, `^{"status":"healthy","lines_processed":200000,.*"stdout":"open",.*"lag_bytes":0,`)
	sc.assertSmall(t)
}

// As Node.js does to a pipe that it shares, while the sidecar runs.
func TestStdoutMadeNonBlockingIsWaitedFor(t *testing.T) {
	const lines = 20_000
	s := newSite(t)
	var shared int
	sc := s.startUnread(t, func(cmd *exec.Cmd) {
		var err error
		shared, err = syscall.Dup(int(cmd.Stdout.(*os.File).Fd()))
		require.NoError(t, err)
	})
	require.NoError(t, syscall.SetNonblock(shared, true))
	s.write(t, numbered(0, lines))
	sc.becomes(t, stdoutBlocked)
	require.NoError(t, syscall.Close(shared)) // or the pipe would not end with the sidecar
	sc.drain(t)
	sc.read()
	require.Equal(t, 0, sc.exits(t), sc.stderr.String())
	sc.printsNumbered(t, lines)
}

// What was printed into the void is not counted as printed: the next one prints it.
func TestClosedStdoutIsAnError(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines int
		until string // stdout is closed when /health says this
	}{
		{"before the first line", 0, `"lines_processed":0`},
		{"before the next line", 1, `"lines_processed":1`},
		{"while it blocks", 10_000, stdoutBlocked},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			s.write(t, numbered(0, test.lines))
			first := s.startUnread(t)
			first.becomes(t, test.until)
			require.NoError(t, first.stdout.Close())
			s.write(t, "last\n")
			first.fails(t, "write /dev/stdout: broken pipe")
			second := s.start(t)
			eventually(t, "the last line", func() bool { return strings.Contains(second.out.tail(), `{"raw":"last"`) })
			assert.Equal(t, test.lines <= 1, second.out.lines() == 1, "what was printed before")
		})
	}
}

// Records that go nowhere must not count as printed, nor be read as lines.
func TestStdoutThatIsRefused(t *testing.T) {
	for redirection, why := range map[string]string{
		">&-":        "stdout is closed",
		">/dev/full": "no space left on device",

		`>>"$LOG_PATH"`:        "stdout is a file of this log",
		`>"$LOG_PATH.records"`: "stdout is a file of this log",
	} {
		t.Run(redirection, func(t *testing.T) {
			s := newSite(t)
			s.write(t, "one\n")
			s.launch(t, inShell(`exec "$0" `+redirection)).fails(t, why)
			s.start(t).prints(t, "one")
		})
	}
}

func TestStdoutThatIsNotRefused(t *testing.T) {
	for _, redirection := range []string{">/dev/null", `>"$LOG_PATH~"`} {
		t.Run(redirection, func(t *testing.T) {
			s := newSite(t)
			s.write(t, "one\n")
			s.startUnread(t, inShell(`exec "$0" `+redirection)).becomes(t, `"lines_processed":1`)
		})
	}
}

// Parts are small until the reader is seen to be quick, and a record that fits into one is
// never parted.
func TestPartsOfABatch(t *testing.T) {
	record := strings.Repeat("x", 99) + "\n"
	records, long := strings.Repeat(record, 7_000), strings.Repeat("x", 700_000)+"\n"+record
	for _, test := range []struct {
		name  string
		slow  bool
		batch string
		whole bool // each part ends with a record
	}{
		{"quick", false, records, true},
		{"slow", true, records, true},
		{"long record, quick", false, long, false},
		{"long record, slow", true, long, false},
		{"nothing", true, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				taken, largest := "", 0
				w := &pacedWriter{w: writerFunc(func(b []byte) (int, error) {
					if test.slow {
						time.Sleep(slowAfter + 1) // of the bubble's clock
					}
					if len(taken) < quickAfter {
						assert.LessOrEqual(t, len(b), smallPart)
					}
					assert.True(t, !test.whole || b[len(b)-1] == '\n')
					taken, largest = taken+string(b), max(largest, len(b))
					return len(b), nil
				})}
				n, err := w.Write([]byte(test.batch))
				require.NoError(t, err)
				assert.Equal(t, len(test.batch), n)
				assert.EqualValues(t, n, w.accepted.Load())
				assert.Equal(t, test.batch, taken)
				assert.Equal(t, !test.slow, largest > smallPart)
				assert.LessOrEqual(t, largest, largePart)
			})
		})
	}
}

// One write that is kept waiting for too long, for its size, makes the parts small again.
func TestReaderThatBecomesSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		w := &pacedWriter{quick: quickAfter, w: writerFunc(func(b []byte) (int, error) {
			time.Sleep(slowAfter*time.Duration((len(b)+smallPart-1)/smallPart) + 1)
			sizes = append(sizes, len(b))
			return len(b), nil
		})}
		_, err := w.Write(make([]byte, largePart+2*smallPart))
		require.NoError(t, err)
		assert.Equal(t, []int{largePart, smallPart, smallPart}, sizes)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
