package main

import (
	"fmt"
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
	assert.Less(t, took, 10*time.Second)
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
	sc.stop(t)
	sc.hasPrinted(t, "one")
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
	app.write(t, numbered(10, 12))
	app.rotate(t)
	app.write(t, numbered(12, 13))
	sc.endsSoonAfter(t, app.end(t))
	sc.printsNumbered(t, 13)
}

// For longer than a log must be quiet where the kernel cannot be asked.
func TestAppHoldsTheLog(t *testing.T) {
	for name, isAsked := range map[string]bool{"its port is closed": true, "no health URL": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			app := s.newApp(t)
			if !isAsked {
				s.set("APP_HEALTH_URL=")
			}
			sc := s.start(t)
			if isAsked {
				app.isAsked(t)
				app.hangUp()
			}
			sc.drain(t)
			assert.Never(t, sc.hasEnded, 1500*time.Millisecond, 10*time.Millisecond)
			for i := range 3 {
				app.write(t, numbered(i, i+1))
				sc.printsNumbered(t, i+1)
			}
			sc.endsSoonAfter(t, app.end(t))
		})
	}
}

// Such an app has the log closed nearly always; its port says that it is there.
func TestAppOpensTheLogForEachLine(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	app.letGo(t)
	sc := s.start(t)
	sc.drain(t)
	for i := range 5 {
		app.isAskedAgain(t)
		s.write(t, numbered(i, i+1))
		sc.printsNumbered(t, i+1)
	}
	sc.endsSoonAfter(t, app.end(t))
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
			sc.endsSoonAfter(t, quiet)
			assert.Greater(t, sc.endedAt.Sub(quiet), 900*time.Millisecond)
			sc.printsNumbered(t, 4)
		})
	}
}

// The kernel does not answer for another user's file. Then the app must be gone
// and the log quiet.
func TestAppOfAnotherUser(t *testing.T) {
	for name, test := range map[string]struct {
		uid   int
		quiet time.Duration
	}{
		"the same user": {nobody, 0},
		"another user":  {stranger, 900 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.runAs(t, nobody)
			app := s.newApp(t)
			require.NoError(t, os.Chown(s.log, test.uid, test.uid))
			sc := s.start(t)
			sc.drain(t)
			for i := range 3 {
				app.write(t, numbered(i, i+1))
				sc.printsNumbered(t, i+1)
			}
			app.hangUp()
			quiet := time.Now()
			app.write(t, numbered(3, 4))
			sc.printsNumbered(t, 4)
			app.letGo(t)
			sc.endsSoonAfter(t, quiet)
			assert.Greater(t, sc.endedAt.Sub(quiet), test.quiet)
		})
	}
}

func TestLogThatNeverCame(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	app.letGo(t)
	require.NoError(t, os.RemoveAll(filepath.Dir(s.log)))
	sc := s.start(t)
	sc.drain(t)
	app.isAskedAgain(t)
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

// The default of each ends a process.
func TestSignalsOfLogrotateScripts(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	for i := range 2 {
		for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGPIPE} {
			sc.signal(t, signal)
		}
		app.write(t, numbered(i, i+1))
		sc.printsNumbered(t, i+1)
		if i == 0 {
			sc.drain(t)
		}
	}
	sc.endsSoonAfter(t, app.end(t))
}

// The app is busy, and the signal comes anywhere between its first line and its last.
func TestSIGTERMUnderLoad(t *testing.T) {
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
	for name, haunt := range map[string]func(*testing.T, *app){
		"it holds the log": func(t *testing.T, a *app) {
			a.isAsked(t)
			a.hangUp()
		},
		"it keeps its port": func(t *testing.T, a *app) { a.letGo(t) },
		"it hangs": func(t *testing.T, a *app) {
			a.status.Store(0)
			a.letGo(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "DRAIN_TIMEOUT=300ms")
			app := s.newApp(t)
			app.write(t, "one\nunfinished")
			sc := s.start(t)
			sc.prints(t, "one")
			haunt(t, app)
			sc.drain(t)
			sc.leavesBehind(t, "not done within 300ms", len("unfinished"))
			sc.hasPrinted(t, "one")
		})
	}
}

func TestSecondSignalEndsItAtOnce(t *testing.T) {
	for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(second.String(), func(t *testing.T) {
			s := newSite(t, "DRAIN_TIMEOUT=1h")
			app := s.newApp(t)
			sc := s.start(t)
			app.write(t, "one\nunfinished")
			sc.prints(t, "one")
			eventually(t, "the position", func() bool { return sc.metric(t, "lag_bytes") == float64(len("unfinished")) })
			sc.drain(t)
			sc.signal(t, second)
			sc.leavesBehind(t, "second signal", len("unfinished"))
		})
	}
}

func TestTwoSignalsAtTheSameTime(t *testing.T) {
	s := newSite(t, "DRAIN_TIMEOUT=1h")
	app := s.newApp(t)
	app.write(t, "one\n")
	sc := s.start(t)
	sc.prints(t, "one")
	sc.signal(t, syscall.SIGSTOP) // both are there when it goes on
	sc.signal(t, syscall.SIGTERM)
	sc.signal(t, syscall.SIGINT)
	sc.signal(t, syscall.SIGCONT)
	sc.leavesBehind(t, "second signal", 0)
}

// It ends between two batches: the next one goes on where it has stopped.
func TestSecondSignalRepeatsNothing(t *testing.T) {
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
	all := &sidecar{}
	live := func(end func(*sidecar)) {
		sc := s.start(t)
		end(sc)
		_, _ = all.out.Write([]byte(sc.out.String()))
	}
	for range 20 {
		live(func(sc *sidecar) {
			sc.drain(t)
			printed := sc.out.lines()
			eventually(t, "more lines", func() bool { return sc.out.lines() > printed })
			sc.signal(t, syscall.SIGTERM)
			require.Equal(t, 1, sc.exits(t))
		})
	}
	close(done)
	writer.Wait()
	app.end(t)
	live(func(sc *sidecar) { sc.stop(t) })
	all.printsNumbered(t, written)
}

func TestStdoutIsBlockedDuringTheDrain(t *testing.T) {
	const lines = 20_000
	for _, test := range []struct {
		name, timeout, why string
		shared             bool // with 2>&1: what it has to say nobody can read, but end it does
	}{
		{"timeout", "300ms", "not done within 300ms", false},
		{"second signal", "1h", "second signal", false},
		{"timeout, stderr too", "300ms", "", true},
		{"second signal, stderr too", "1h", "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, "DRAIN_TIMEOUT="+test.timeout)
			s.write(t, numbered(0, lines))
			sc := s.startMute(t, func(cmd *exec.Cmd) {
				if test.shared {
					cmd.Stderr = cmd.Stdout
				}
			})
			sc.isBlocked(t)
			lag := int(sc.metric(t, "lag_bytes"))
			assert.Positive(t, lag)
			sc.signal(t, syscall.SIGTERM)
			if test.timeout == "1h" {
				// A signal that comes while the first one is still on its way is not a second one.
				eventually(t, "a second signal ends it", func() bool {
					_ = sc.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
					return sc.hasEnded()
				})
			}
			if test.shared {
				assert.Equal(t, 1, sc.exits(t))
			} else {
				sc.leavesBehind(t, test.why, lag)
				sc.assertNothingIsLost(t, s, lines)
			}
		})
	}
}

// assertNothingIsLost wants the next sidecar to go on where this one has ended,
// with at most one batch printed again.
func (sc *sidecar) assertNothingIsLost(t *testing.T, s *site, lines int) {
	t.Helper()
	sc.read()
	sc.exits(t)
	s.set("DRAIN_TIMEOUT=1h")
	next := s.start(t)
	next.stop(t)
	// The write that was cut off may have left a part of a record.
	whole := sc.out.String()
	whole = whole[:strings.LastIndex(whole, "\n")+1]
	printed := map[string]int{}
	for line := range strings.Lines(whole + next.out.String()) {
		printed[pathIn(line)]++
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
	s.write(t, numbered(0, 20_000))
	sc := s.startUnread(t)
	sc.isBlocked(t)
	sc.drain(t)
	sc.read()
	require.Equal(t, 0, sc.exits(t), sc.stderr.String())
	sc.printsNumbered(t, 20_000)
}

// A reader that is slow, and not gone, gets whole records, and none of them again.
func TestDrainCutShortWhileStdoutIsSlow(t *testing.T) {
	for name, timeout := range map[string]string{"timeout": "1s", "second signal": "1h"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const lines = 2000
			s := newSite(t, "DRAIN_TIMEOUT="+timeout)
			app := s.newApp(t)
			app.write(t, numbered(0, lines))
			sc := s.startUnread(t)
			sc.reading.Go(sc.readSlowly)
			sc.becomes(t, "slow", func(h report) bool { return h.LagBytes > 0 && sc.out.lines() > 0 })
			sc.drain(t)
			if name == "second signal" {
				sc.signal(t, syscall.SIGTERM)
			}
			sc.exits(t)
			app.end(t)
			s.set("DRAIN_TIMEOUT=1h")
			next := s.start(t)
			next.stop(t)
			_, _ = sc.out.Write([]byte(next.out.String()))
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
