package tail

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// runOnEvents runs the tailer, with no tick to do the work of an event that is
// missing, until it has come to the log's end.
func (s *site) runOnEvents() {
	s.cfg.PollInterval = time.Hour
	s.run()
	s.eventually("it has looked", func() bool { return s.tailer.Status().File == atEnd })
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
