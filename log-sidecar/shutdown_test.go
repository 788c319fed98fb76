package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// endsSoonAfter wants exit code 0, soon after the app has ended. What is soon is
// generous, because the machine may be busy; the figure is printed.
func (sc *sidecar) endsSoonAfter(t *testing.T, appEnded time.Time) {
	t.Helper()
	require.Equal(t, 0, sc.exits(t), sc.stderr.String())
	took := sc.endedAt.Sub(appEnded)
	t.Logf("exit %v after the app's end", took.Round(time.Millisecond/10))
	assert.Less(t, took, 2*time.Second) // one of them without a line, if the app closed its log before
	assert.Len(t, sc.stderr.messages("stopped"), 1)
}

// leavesBehind wants exit code 1, and a message that says why and how much.
func (sc *sidecar) leavesBehind(t *testing.T, why string, bytes int) {
	t.Helper()
	assert.Equal(t, 1, sc.exits(t))
	assert.Len(t, sc.stderr.messages(fmt.Sprintf("%s: %d bytes are left behind", why, bytes)), 1, sc.stderr.String())
}

func TestAppEndsFirst(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	app.write(t, "one\n")
	app.isAsked(t)
	app.end(t)
	asked := time.Now()
	sc.signal(t, syscall.SIGTERM)
	sc.endsSoonAfter(t, asked)
	sc.hasPrinted(t, "one")
}

func TestAppEndsAtTheSameTime(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	app.write(t, numbered(0, 10_000))
	sc.signal(t, syscall.SIGTERM)
	app.write(t, numbered(10_000, 10_001))
	sc.endsSoonAfter(t, app.end(t))
	sc.printsNumbered(t, 10_001)
}

// The app's last requests are answered, logged and rotated away long after the
// sidecar was asked to end.
func TestAppEndsLater(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	app.write(t, numbered(0, 1))
	sc.drain(t)
	for i := 1; i < 10; i++ {
		app.write(t, numbered(i, i+1))
		sc.printsNumbered(t, i+1)
		if i%3 == 0 {
			app.rotate(t)
		}
		status, _ := sc.health(t)
		assert.Equal(t, 200, status, "it answers until the end")
	}
	// Longer than any log must be quiet where the kernel cannot be asked.
	assert.Never(t, sc.hasEnded, 1500*time.Millisecond, 10*time.Millisecond)
	app.write(t, numbered(10, 12))
	app.rotate(t)
	app.write(t, numbered(12, 13))
	sc.endsSoonAfter(t, app.end(t))
	sc.printsNumbered(t, 13)
}

func TestAppWritesOnAfterItsPortIsClosed(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	sc.drain(t)
	app.hangUp()
	for i := range 5 {
		app.write(t, numbered(i, i+1))
		sc.printsNumbered(t, i+1)
	}
	assert.Never(t, sc.hasEnded, 200*time.Millisecond, 10*time.Millisecond)
	sc.endsSoonAfter(t, app.end(t))
}

// Such an app has the log closed nearly always; its port says that it is there.
func TestAppOpensTheLogForEachLine(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	app.letGo(t)
	sc := s.start(t)
	sc.drain(t)
	for i := range 5 {
		asked := app.asked.Load()
		eventually(t, "the app is asked again", func() bool { return app.asked.Load() >= asked+5 })
		s.write(t, numbered(i, i+1))
		sc.printsNumbered(t, i+1)
	}
	sc.endsSoonAfter(t, app.end(t))
}

// The default of each ends a process.
func TestSignalsOfLogrotateScriptsAreIgnored(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	ignored := func() {
		for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGPIPE} {
			sc.signal(t, signal)
		}
	}
	ignored()
	app.write(t, numbered(0, 1))
	sc.printsNumbered(t, 1)
	sc.drain(t)
	ignored()
	app.write(t, numbered(1, 2))
	sc.printsNumbered(t, 2)
	sc.endsSoonAfter(t, app.end(t))
}

// The app is busy, and the signal comes anywhere between its first line and its last.
func TestNoLineIsLostWheneverTheSignalComes(t *testing.T) {
	const rounds, lines = 12, 3000
	for round := range rounds {
		s := newSite(t)
		app := s.newApp(t)
		sc := s.start(t)
		for i := 0; i < lines; i += 10 {
			if i == round*lines/rounds {
				sc.signal(t, syscall.SIGTERM)
			}
			app.write(t, numbered(i, i+10))
			if i%700 == 0 {
				app.rotate(t)
			}
		}
		app.end(t)
		require.Equal(t, 0, sc.exits(t), sc.stderr.String())
		sc.printsNumbered(t, lines)
	}
}

func TestAppNeverEnds(t *testing.T) {
	t.Run("it holds the log", func(t *testing.T) {
		s := newSite(t, "DRAIN_TIMEOUT=300ms")
		app := s.newApp(t)
		sc := s.start(t)
		app.write(t, "one\nunfinished")
		sc.prints(t, "one")
		sc.drain(t)
		sc.leavesBehind(t, "not done within 300ms", len("unfinished"))
		sc.hasPrinted(t, "one")
	})
	t.Run("it keeps its port", func(t *testing.T) {
		s := newSite(t, "DRAIN_TIMEOUT=300ms")
		app := s.newApp(t)
		app.letGo(t)
		sc := s.start(t)
		sc.drain(t)
		sc.leavesBehind(t, "not done within 300ms", 0)
		assert.Positive(t, app.asked.Load())
	})
	t.Run("it hangs", func(t *testing.T) {
		s := newSite(t, "DRAIN_TIMEOUT=300ms")
		app := s.newApp(t)
		app.status.Store(0)
		app.letGo(t)
		sc := s.start(t)
		sc.drain(t)
		sc.leavesBehind(t, "not done within 300ms", 0)
	})
}

func TestStdoutIsBlockedDuringTheDrain(t *testing.T) {
	s := newSite(t, "DRAIN_TIMEOUT=300ms")
	app := s.newApp(t)
	sc := s.startUnread(t)
	app.write(t, numbered(0, 20_000))
	sc.becomes(t, "blocked", func(h report) bool { return h.Stdout == "blocked" })
	app.end(t)
	lag := int(sc.metric(t, "lag_bytes"))
	assert.Positive(t, lag)
	sc.drain(t)
	sc.leavesBehind(t, "not done within 300ms", lag)
	sc.assertNothingIsLost(t, s, 20_000)
}

// As with 2>&1: what it has to say at the end nobody can read, but end it does.
func TestStdoutAndStderrAreOneBlockedPipeDuringTheDrain(t *testing.T) {
	for name, again := range map[string]bool{"timeout": false, "second signal": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "DRAIN_TIMEOUT=300ms")
			if again {
				s.set("DRAIN_TIMEOUT=1h")
			}
			s.write(t, numbered(0, 20_000))
			r, w, err := os.Pipe()
			require.NoError(t, err)
			defer r.Close()
			address := s.takePort(t)
			sc := &sidecar{cmd: s.command(), address: address}
			sc.cmd.Stderr = w
			sc.startWith(t, w)
			eventually(t, "serving", func() bool {
				conn, err := net.Dial("tcp", address)
				if err == nil {
					_ = conn.Close()
				}
				return err == nil
			})
			sc.becomes(t, "blocked", func(h report) bool { return h.Stdout == "blocked" })
			sc.signal(t, syscall.SIGTERM)
			if again {
				// A signal that comes while the first one is still on its way is not a second one.
				eventually(t, "a second signal ends it", func() bool {
					_ = sc.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
					return sc.hasEnded()
				})
			}
			assert.Equal(t, 1, sc.exits(t))
		})
	}
}

// assertNothingIsLost wants the next sidecar to go on where this one has ended,
// with at most one batch printed again.
func (sc *sidecar) assertNothingIsLost(t *testing.T, s *site, lines int) {
	t.Helper()
	sc.read()
	next := s.start(t)
	last := fmt.Sprintf("/n/%07d", lines-1)
	eventually(t, "the last line", func() bool { return strings.Contains(next.out.tail(), last) })
	printed := map[string]int{}
	// The write that was cut off may have left a part of a record.
	whole := sc.out.String()
	whole = whole[:strings.LastIndex(whole, "\n")+1]
	for line := range strings.Lines(whole + next.out.String()) {
		_, line, _ = strings.Cut(line, `"path":"`)
		path, _, _ := strings.Cut(line, `"`)
		printed[path]++
	}
	again := 0
	for i := range lines {
		n := printed[fmt.Sprintf("/n/%07d", i)]
		require.GreaterOrEqual(t, n, 1, "line %d", i)
		again += n - 1
	}
	assert.LessOrEqual(t, again, 32<<10/80, "more than one batch twice")
}

func TestStdoutIsReadAgainDuringTheDrain(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.startUnread(t)
	app.write(t, numbered(0, 20_000))
	sc.becomes(t, "blocked", func(h report) bool { return h.Stdout == "blocked" })
	app.end(t)
	sc.drain(t)
	sc.read()
	require.Equal(t, 0, sc.exits(t), sc.stderr.String())
	sc.printsNumbered(t, 20_000)
}

// A reader that is slow, and not gone, gets whole records, and none of them again.
func TestDrainIsCutShortWhileStdoutIsSlow(t *testing.T) {
	for name, timeout := range map[string]string{"timeout": "1s", "second signal": "1h"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const lines = 2000
			s := newSite(t, "DRAIN_TIMEOUT="+timeout)
			app := s.newApp(t)
			app.write(t, numbered(0, lines))
			sc := s.startUnread(t)
			go sc.readSlowly()
			sc.becomes(t, "slow", func(h report) bool { return h.LagBytes > 0 && sc.out.lines() > 0 })
			sc.drain(t)
			if name == "second signal" {
				sc.signal(t, syscall.SIGTERM)
			}
			sc.exits(t)
			app.end(t)
			next := s.start(t)
			next.signal(t, syscall.SIGTERM)
			require.Equal(t, 0, next.exits(t))
			eventually(t, "all that it has printed", func() bool { return sc.out.lines()+next.out.lines() >= lines })
			_, err := sc.out.Write([]byte(next.out.String()))
			require.NoError(t, err)
			sc.printsNumbered(t, lines)
		})
	}
}

// readSlowly reads 60 KB/s for as long as the sidecar runs, and then the rest.
func (sc *sidecar) readSlowly() {
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for part := make([]byte, 3072); ; {
		select {
		case <-pace.C:
		case <-sc.ended:
		}
		n, err := sc.stdout.Read(part)
		_, _ = sc.out.Write(part[:n])
		if err != nil {
			return
		}
	}
}

// It ends between two batches: the next one goes on where it has stopped.
func TestSecondSignalLeavesNothingToBePrintedAgain(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	var written int
	var writer sync.WaitGroup
	done := make(chan struct{})
	writer.Go(func() {
		for pace := time.NewTicker(time.Millisecond); ; written += 5 {
			select {
			case <-pace.C:
				app.write(t, numbered(written, written+5))
			case <-done:
				return
			}
		}
	})
	var lives []*sidecar
	for range 20 {
		sc := s.start(t)
		lives = append(lives, sc)
		sc.drain(t)
		printed := sc.out.lines()
		eventually(t, "more lines", func() bool { return sc.out.lines() > printed })
		sc.signal(t, syscall.SIGTERM)
		require.Equal(t, 1, sc.exits(t))
	}
	close(done)
	writer.Wait()
	app.end(t)
	last := s.start(t)
	last.signal(t, syscall.SIGTERM)
	require.Equal(t, 0, last.exits(t))

	var all string
	eventually(t, "all lines", func() bool {
		all = ""
		for _, sc := range append(lives, last) {
			all += sc.out.String()
		}
		return strings.Count(all, "\n") >= written
	})
	i := 0
	for line := range strings.Lines(all) {
		require.Contains(t, line, fmt.Sprintf(`"path":"/n/%07d"`, i))
		i++
	}
	require.Equal(t, written, i)
}

func TestSecondSignalEndsItAtOnce(t *testing.T) {
	for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run("the app goes on, "+second.String(), func(t *testing.T) {
			s := newSite(t)
			app := s.newApp(t)
			sc := s.start(t)
			app.write(t, "one\nunfinished")
			sc.prints(t, "one")
			eventually(t, "the checkpoint", func() bool { return sc.metric(t, "lag_bytes") == float64(len("unfinished")) })
			sc.drain(t)
			sc.signal(t, second)
			sc.leavesBehind(t, "second signal", len("unfinished"))
		})
	}
	t.Run("stdout is blocked", func(t *testing.T) {
		s := newSite(t)
		app := s.newApp(t)
		sc := s.startUnread(t)
		app.write(t, numbered(0, 20_000))
		sc.becomes(t, "blocked", func(h report) bool { return h.Stdout == "blocked" })
		lag := int(sc.metric(t, "lag_bytes"))
		sc.drain(t)
		sc.signal(t, syscall.SIGTERM)
		sc.leavesBehind(t, "second signal", lag)
	})
}

// The kernel does not answer for another user's file. Then the app must be gone
// and the log quiet.
func TestAppOfAnotherUser(t *testing.T) {
	s := newSite(t)
	s.runAs(t, nobody)
	app := s.newApp(t)
	app.letGo(t)
	require.NoError(t, os.Chown(s.log, stranger, stranger))
	writer := startWriter(t, s.log, stranger)
	sc := s.start(t)
	sc.drain(t)
	for i := range 3 {
		writer.write(t, numbered(i, i+1))
		sc.printsNumbered(t, i+1)
	}
	app.hangUp()
	var quiet time.Time
	for i := 3; i < 6; i++ { // within the second that the log must have been quiet
		quiet = time.Now()
		writer.write(t, numbered(i, i+1))
		sc.printsNumbered(t, i+1)
	}
	writer.end(t)
	require.Equal(t, 0, sc.exits(t), sc.stderr.String())
	t.Logf("exit %v after the last line", sc.endedAt.Sub(quiet).Round(time.Millisecond))
	assert.Greater(t, sc.endedAt.Sub(quiet), 900*time.Millisecond)
	assert.Less(t, sc.endedAt.Sub(quiet), 5*time.Second)
	sc.printsNumbered(t, 6)
}

// A writer is a process that holds the log open, and appends what it is told.
type writer struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	once  sync.Once
}

func startWriter(t *testing.T, log string, uid uint32) *writer {
	t.Helper()
	w := &writer{cmd: exec.Command("sh", "-c", `exec cat >>"$0"`, log)}
	w.cmd.Dir = filepath.Dir(log)
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	var err error
	w.stdin, err = w.cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, w.cmd.Start())
	t.Cleanup(func() { w.end(t) })
	return w
}

func (w *writer) write(t *testing.T, text string) {
	t.Helper()
	_, err := io.WriteString(w.stdin, text)
	require.NoError(t, err)
}

func (w *writer) end(t *testing.T) {
	t.Helper()
	w.once.Do(func() {
		assert.NoError(t, w.stdin.Close())
		assert.NoError(t, w.cmd.Wait())
	})
}

// A writer in a process of its own, of the same user: the kernel answers for it.
func TestWriterProcessHoldsTheLog(t *testing.T) {
	needRoot(t)
	s := newSite(t)
	s.runAs(t, nobody)
	app := s.newApp(t)
	app.letGo(t)
	require.NoError(t, os.Chown(s.log, nobody, nobody))
	writer := startWriter(t, s.log, nobody)
	writer.write(t, numbered(0, 1))
	sc := s.start(t)
	sc.printsNumbered(t, 1)
	app.isAsked(t)
	app.hangUp()
	sc.drain(t)
	assert.Never(t, sc.hasEnded, 1500*time.Millisecond, 10*time.Millisecond)
	writer.write(t, numbered(1, 2))
	sc.printsNumbered(t, 2)
	writer.end(t)
	sc.endsSoonAfter(t, time.Now())
}

// Then the log must have been quiet besides: the app may open it anew.
func TestAppWithoutHealthURL(t *testing.T) {
	for name, url := range map[string]string{"no URL": "", "URL that never answered": "http://127.0.0.1:1/healthz"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "APP_HEALTH_URL="+url)
			s.write(t, numbered(0, 1))
			sc := s.start(t)
			sc.drain(t)
			var quiet time.Time
			for i := 1; i < 4; i++ {
				quiet = time.Now()
				s.write(t, numbered(i, i+1))
				sc.printsNumbered(t, i+1)
			}
			require.Equal(t, 0, sc.exits(t), sc.stderr.String())
			t.Logf("exit %v after the last line", sc.endedAt.Sub(quiet).Round(time.Millisecond))
			assert.Greater(t, sc.endedAt.Sub(quiet), 900*time.Millisecond)
			sc.printsNumbered(t, 4)
		})
	}
}

func TestAppWithoutHealthURLHoldsTheLog(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	s.set("APP_HEALTH_URL=")
	sc := s.start(t)
	sc.drain(t)
	assert.Never(t, sc.hasEnded, 1500*time.Millisecond, 10*time.Millisecond)
	app.write(t, "one\n")
	sc.prints(t, "one")
	app.end(t)
	require.Equal(t, 0, sc.exits(t), sc.stderr.String())
	assert.Zero(t, app.asked.Load())
}

func TestLogThatNeverCameIsNoReasonToStay(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	app.letGo(t)
	require.NoError(t, os.RemoveAll(filepath.Dir(s.log)))
	sc := s.start(t)
	sc.drain(t)
	asked := app.asked.Load()
	eventually(t, "the app is asked again", func() bool { return app.asked.Load() >= asked+5 })
	assert.False(t, sc.hasEnded(), "the app may write its first line yet")
	sc.endsSoonAfter(t, app.end(t))
	assert.Empty(t, sc.out.String())
}

// It is printed as it is; but if the rest comes after all, the line is printed whole.
func TestUnfinishedLineIsPrintedAtTheEnd(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	app.write(t, "one\nunfinished")
	sc.prints(t, "one")
	sc.drain(t)
	sc.endsSoonAfter(t, app.end(t))
	sc.prints(t, "one", "unfinished")

	s.write(t, " no more\ntwo\n")
	s.start(t).prints(t, "unfinished no more", "two")
}
