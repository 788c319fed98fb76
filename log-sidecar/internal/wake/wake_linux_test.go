package wake

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFullEventQueue(t *testing.T) {
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
	dir := newDir(t)
	w := newWaker(t)
	w.Watch([]string{dir})
	name := [2]string{dir + "/a", dir + "/b"}
	write(t, name[0])
	for i := range queue/2 + 2000 { // more than the queue and the watcher's buffer hold
		require.NoError(t, os.Rename(name[i%2], name[1-i%2]))
	}
	w.wait()
	assert.Equal(t, hint{"", false}, last(w.hints))
	assert.Equal(t, 1, w.count("file events were lost"))
	assert.False(t, w.Polling())
	write(t, dir+"/access.log")
	w.wait()
}

// fsnotify holds its lock while it sends the error of a directory that was moved and then
// deleted: who asks it for something instead of taking the error would wait for ever.
func TestDirectoryMovedAndDeleted(t *testing.T) {
	for _, test := range []struct {
		name string
		ask  func(w *fixture, dir string)
	}{
		{"then watched", func(w *fixture, dir string) { w.Watch([]string{dir}) }},
		{"then closed", func(w *fixture, _ string) { w.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := newDir(t) + "/log"
			require.NoError(t, os.Mkdir(dir, 0o755))
			w := newWaker(t)
			w.Watch([]string{dir})
			file, err := os.Create(dir + "/access.log") // an event that makes the others wait
			require.NoError(t, err)
			require.NoError(t, file.Close())
			require.NoError(t, os.Rename(dir, dir+".old"))
			require.NoError(t, os.RemoveAll(dir+".old"))
			require.NoError(t, os.Mkdir(dir, 0o755))
			<-w.fs.Events
			require.Eventually(t, func() bool { return strings.Contains(stacks(), ".sendError(") }, patience, time.Millisecond)
			within(t, test.name, func() { test.ask(w, dir) })
			assert.Equal(t, 1, w.count("file events were lost"))
		})
	}
}

// stacks tells what all goroutines are doing.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

func TestAlarmDiscardsAnEarlierExpiry(t *testing.T) {
	a, err := newAlarm()
	require.NoError(t, err)
	defer a.Close()
	for range 10 {
		a.Reset(0)
		require.Eventually(t, func() bool { return len(a.C) == 1 }, patience, time.Millisecond/10)
		began := time.Now()
		a.Reset(brief)
		<-a.C
		assert.GreaterOrEqual(t, time.Since(began), brief)
	}
}

func TestAlarmIsSetAnew(t *testing.T) {
	a, err := newAlarm()
	require.NoError(t, err)
	defer a.Close()
	within(t, "an alarm set to an earlier time", func() {
		a.Reset(time.Hour)
		a.Reset(brief)
		<-a.C
	})
}

func TestClosedAlarmLeavesNothingBehind(t *testing.T) {
	a, err := newAlarm()
	require.NoError(t, err)
	a.Reset(time.Hour)
	require.NoError(t, a.Close())
	require.Eventually(t, func() bool { return !strings.Contains(stacks(), "wake.newAlarm.") }, patience, time.Millisecond)
}
