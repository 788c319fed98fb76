package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// endsSoonAfter wants exit code 0, soon after the given time, and returns how soon. What is
// soon is generous, because the machine may be busy; the figure is printed.
func (sc *sidecar) endsSoonAfter(t *testing.T, last time.Time) time.Duration {
	t.Helper()
	require.Equal(t, 0, sc.exits(t), sc.stderr.String())
	took := sc.endedAt.Sub(last)
	t.Logf("exit after %v", took.Round(time.Millisecond/10))
	assert.Less(t, took, 10*time.Second)
	assert.Len(t, sc.stderr.messages("stopped"), 1)
	return took
}

// SIGTERM comes anywhere from before the app's first line to after its end; its last lines
// are written, and rotated away, long after it. So come the signals of logrotate scripts,
// the default of which is to end a process.
func TestAppEndsLater(t *testing.T) {
	const lines = 3000
	for before := 0; before <= lines; before += lines / 12 {
		s := newSite(t)
		app := s.newApp(t)
		sc := s.start(t)
		for i := range lines {
			if i == before {
				sc.signal(t, syscall.SIGTERM)
			}
			app.write(t, numbered(i, i+1))
			if i%700 == 0 {
				app.rotate(t)
				for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGPIPE} {
					sc.signal(t, signal)
				}
				status, _ := sc.get(t, "/health")
				assert.Equal(t, http.StatusOK, status, "it answers until the end")
			}
		}
		ended := app.end()
		if before == lines {
			sc.signal(t, syscall.SIGTERM)
		}
		sc.endsSoonAfter(t, ended)
		sc.printsNumbered(t, lines)
	}
}

// That the app has its log or its port open says that it may write again. If neither can
// be known, the log must have been quiet for a second.
func TestDrainWaitsForTheApp(t *testing.T) {
	own, none, wrong := []string(nil), []string{"APP_HEALTH_URL="}, []string{"APP_HEALTH_URL=http://127.0.0.1:1/healthz"}
	keeps := func(*app) {}
	for _, test := range []struct {
		name   string
		url    []string // APP_HEALTH_URL, if not that of the app
		closes func(*app)
		owner  int  // of the log, where the sidecar runs as nobody
		stays  bool // also when the log is quiet for longer than a second
		quiet  bool // the log must have been quiet
	}{
		{"log and port open", own, keeps, 0, true, false},
		{"port closed", own, (*app).hangUp, 0, true, false},
		{"no health URL", none, keeps, 0, true, false},
		{"log opened for each line", own, (*app).letGo, 0, true, false},
		{"log opened for each line, no health URL", none, (*app).letGo, 0, false, true},
		{"log opened for each line, URL that never answered", wrong, (*app).letGo, 0, false, true},
		{"log of the same user", own, keeps, nobody, true, false},
		{"log of another user, whom the kernel says nothing about", own, keeps, stranger, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			app := s.newApp(t)
			s.set(test.url...)
			if test.owner != 0 {
				s.runAsNobody(t)
				require.NoError(t, os.Chown(s.log, test.owner, test.owner))
			}
			sc := s.start(t)
			eventually(t, "the app is asked", func() bool { return app.asked.Load() || test.url != nil })
			test.closes(app)
			sc.drain(t)
			if test.stays {
				assert.Never(t, sc.ended.Load, 1500*time.Millisecond, 10*time.Millisecond)
			}
			for i := range 3 {
				s.write(t, numbered(i, i+1))
				sc.printsNumbered(t, i+1)
			}
			last := time.Now()
			s.write(t, numbered(3, 4))
			app.end()
			took := sc.endsSoonAfter(t, last)
			sc.printsNumbered(t, 4)
			assert.True(t, !test.quiet || took > 900*time.Millisecond, took)
		})
	}
}

// It is printed as it is; but if the rest comes after all, the line is printed whole.
func TestUnfinishedLineIsPrintedAtTheEnd(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	app.write(t, "one\nunfinished")
	sc.prints(t, "one")
	sc.drain(t)
	sc.endsSoonAfter(t, app.end())
	sc.prints(t, "one", "unfinished")

	s.write(t, " no more\ntwo\n")
	s.start(t).prints(t, "unfinished no more", "two")
}

func TestDrainIsCutShort(t *testing.T) {
	for _, test := range []struct {
		name, timeout string
		closes        func(*app)     // what the app does not keep
		again         syscall.Signal // 0: none
		why           string
	}{
		{"app holds the log", "300ms", (*app).hangUp, 0, "not done within 300ms"},
		{"app keeps its port", "300ms", (*app).letGo, 0, "not done within 300ms"},
		{"no time at all", "0s", (*app).letGo, 0, "not done within 0s"},
		{"second SIGTERM", "24h", (*app).letGo, syscall.SIGTERM, "second signal"},
		{"SIGINT", "24h", (*app).letGo, syscall.SIGINT, "second signal"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, "DRAIN_TIMEOUT="+test.timeout)
			app := s.newApp(t)
			sc := s.start(t)
			app.write(t, "one\nunfinished")
			sc.becomes(t, `"lag_bytes":10,`)
			test.closes(app)
			sc.drain(t)
			if test.again != 0 {
				sc.signal(t, test.again)
			}
			sc.fails(t, test.why+": 10 bytes are left behind")
			sc.prints(t, "one")
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
	sc.fails(t, "second signal: 0 bytes are left behind")
}

// It ends between two batches: the next one goes on where it has stopped.
func TestSecondSignalRepeatsNothing(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	all, written := &sidecar{}, 0
	for range 20 {
		sc := s.start(t)
		sc.drain(t)
		printed := sc.out.lines()
		eventually(t, "more lines", func() bool {
			app.write(t, numbered(written, written+5))
			written += 5
			return sc.out.lines() > printed
		})
		sc.signal(t, syscall.SIGTERM)
		require.Equal(t, 1, sc.exits(t))
		fmt.Fprint(&all.out, sc.out.String())
	}
	app.end()
	last := s.start(t)
	last.stop(t)
	fmt.Fprint(&all.out, last.out.String())
	all.printsNumbered(t, written)
}

// A reader that is slow, and not gone, gets whole records, and none of them again. Of one
// that reads nothing, a batch may come again.
func TestStdoutIsBlockedDuringTheDrain(t *testing.T) {
	const lines = 20_000
	for _, test := range []struct {
		name, timeout, why string
		slow               bool // read at 6 KB/s
	}{
		{"timeout", "300ms", "not done within 300ms", false},
		{"second signal", "1h", "second signal", false},
		{"slow, timeout", "300ms", "not done within 300ms", true},
		{"slow, second signal", "1h", "second signal", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "DRAIN_TIMEOUT="+test.timeout)
			s.write(t, numbered(0, lines))
			sc := s.startUnread(t)
			most := 0 // lines that may come again
			if test.slow {
				sc.reading.Go(sc.readSlowly)
				eventually(t, "lines", func() bool { return sc.out.lines() > 0 })
			} else {
				sc.becomes(t, stdoutBlocked)
				test.why += fmt.Sprintf(": %.0f bytes are left behind", sc.metric(t, "lag_bytes"))
				most = 32 << 10 / 80 // of a batch
			}
			sc.drain(t)
			if test.timeout == "1h" {
				sc.signal(t, syscall.SIGTERM)
			}
			sc.fails(t, test.why)
			sc.read()
			sc.exits(t)

			s.set("DRAIN_TIMEOUT=1h")
			next := s.start(t)
			next.stop(t)
			again := sc.out.lines() + next.out.lines() - lines
			require.True(t, 0 <= again && again <= most, "%d lines come again", again)
			require.True(t, strings.HasSuffix(sc.out.String(), "\n"), "no record is torn")
			once := strings.SplitAfter(sc.out.String(), "\n")[:sc.out.lines()-again]
			all := &sidecar{}
			fmt.Fprint(&all.out, strings.Join(once, ""), next.out.String())
			all.printsNumbered(t, lines)
		})
	}
}

// readSlowly reads 6 KB/s for as long as the sidecar runs, and then the rest.
func (sc *sidecar) readSlowly() {
	for err := error(nil); err == nil; _, err = io.CopyN(&sc.out, sc.stdout, 3072) {
		if !sc.ended.Load() {
			time.Sleep(500 * time.Millisecond)
		}
	}
}
