package tail

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (s *site) polls() bool { return s.tailer.Status().Polling }

// runOnEvents runs the tailer, with no tick to do the work of an event that is
// missing, until it has come to the log's end.
func (s *site) runOnEvents() {
	s.cfg.PollInterval = time.Hour
	s.run()
	s.eventually("it has looked", func() bool { return s.tailer.Status().File == atEnd })
}

func TestEventsTellBeforeTheTick(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	s.runOnEvents()
	for range 10 {
		w.some(1)
		s.wantSoon(w.lines)
	}
	require.False(t, s.polls())
}

// flood runs the tailer, and makes n renames, which the kernel cannot merge, while
// it waits for its sink to be unblocked.
func (s *site) flood(w *writer, n int) (unblock func()) {
	s.runOnEvents()
	unblock = s.sink.block()
	w.some(1)
	s.eventually("it waits", s.sink.blocked)
	name := [2]string{s.dir + "/a", s.dir + "/b"}
	require.NoError(s.t, os.WriteFile(name[0], nil, 0o600))
	for i := range n {
		require.NoError(s.t, os.Rename(name[i%2], name[1-i%2]))
	}
	return unblock
}

func TestAFullEventQueueLosesNothing(t *testing.T) {
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Skip("there is no inotify here")
	}
	var queue int
	_, err = fmt.Sscan(string(limit), &queue)
	require.NoError(t, err)
	if queue > 1<<16 {
		t.Skipf("the event queue is too long to be filled: %d", queue)
	}
	s := newSite(t)
	w := newWriter(t, s.path)
	unblock := s.flood(w, queue+10000) // more than the queue and the watcher's buffer hold
	w.some(10)
	w.rotate()
	w.some(10)
	unblock()
	s.wantSoon(w.lines)
	w.some(10)
	s.wantSoon(w.lines)
	require.False(t, s.polls())
}

// Events that the kernel cannot merge are not worth a look each.
func TestAFloodOfEventsIsNotLookedAtOneByOne(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as main has it
	s := newSite(t)
	w := newWriter(t, s.path)
	s.flood(w, 4000)() // at one look each, several minutes
	s.eventually("it is quiet", func() bool { return time.Since(s.tailer.Status().LastLook) > 4*maxPause })
	w.some(1)
	s.wantSoon(w.lines)
}

func TestDirectoriesThatComeAndGo(t *testing.T) {
	s := newSite(t)
	n := 0
	var lines []string
	s.run()
	for range 20 {
		require.NoError(t, os.MkdirAll(s.dir, 0o755))
		w := newWriter(t, s.path)
		w.n = n
		w.some(3)
		w.close()
		n, lines = w.n, append(lines, w.lines...)
		s.wantSoon(lines)
		s.eventually("it is watched", func() bool { return !s.polls() })
		require.NoError(t, os.Rename(s.dir, s.dir+".old"))
		require.NoError(t, os.RemoveAll(s.dir+".old"))
	}
}
