package tail

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/wake"
)

// runOnEvents runs the tailer, with no tick to do the work of an event that is
// missing, until it has come to the log's end.
func (s *site) runOnEvents() {
	require.Nil(s.t, s.tailer, "it has its configuration already")
	s.cfg.PollInterval = time.Hour
	s.run()
	s.eventually("it has looked", func() bool { return s.tailer.Status().File == atEnd })
}

// No tick finds it.
func TestRestoredFileCausesAnEvent(t *testing.T) {
	s, w := newLog(t, 0)
	s.runOnEvents()
	w.some(5)
	s.wantSoon(w.lines)
	restored := newWriter(t, s.dir+"/.restored")
	restored.name = "restored"
	restored.some(5)
	require.NoError(t, os.Rename(restored.path, s.path+".1"))
	s.wantSoon(append(w.lines, restored.lines...))
}

func TestNextLookIsSoonWithoutEvents(t *testing.T) {
	s, w := newLog(t, 5)
	w.close()
	waker, err := wake.New(s.cfg.Log, func(string, bool) bool { return true })
	require.NoError(t, err)
	s.tailer.waker.Store(waker)
	poll := s.cfg.PollInterval
	require.Equal(t, poll, s.tailer.nextLook(), "polling")
	s.look()
	require.Equal(t, restTicks*poll, s.tailer.nextLook(), "with events")
	s.tailer.retry = 1
	require.EqualValues(t, 1, s.tailer.nextLook(), "something is to be asked again")
	require.NoError(t, os.Remove(s.path))
	s.look()
	require.Equal(t, poll, s.tailer.nextLook(), "without a file")
}

func TestFullEventQueueLosesNothing(t *testing.T) {
	limit, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Skip("there is no inotify here")
	}
	queue, err := strconv.Atoi(strings.TrimSpace(string(limit)))
	require.NoError(t, err)
	if queue > 1<<16 {
		t.Skipf("the event queue is too long to be filled: %d", queue)
	}
	s, w := newLog(t, 0)
	s.runOnEvents()
	unblock := s.block()
	w.some(1)
	s.eventually("it waits", s.sink.waiting.Load)
	name := [2]string{s.dir + "/a", s.dir + "/b"}
	require.NoError(t, os.WriteFile(name[0], nil, 0o600))
	for i := range queue/2 + 2000 { // more than the queue and the watcher's buffer hold
		require.NoError(t, os.Rename(name[i%2], name[1-i%2])) // the kernel cannot merge them
	}
	w.some(10)
	w.rotate()
	w.some(10)
	unblock()
	s.wantSoon(w.lines)
	s.eventually("it is told", func() bool { return strings.Contains(s.log.String(), "file events were lost") })
	w.some(10)
	s.wantSoon(w.lines)
	require.False(t, s.tailer.Status().Polling)
}
