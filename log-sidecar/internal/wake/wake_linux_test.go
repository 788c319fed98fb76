package wake

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fsnotify holds its lock while it sends the error of a directory that was moved and then
// deleted: who asks it for something instead of taking the error would wait for ever.
func TestDirectoryMovedAndDeleted(t *testing.T) {
	for name, ask := range map[string]func(w *fixture, dir string){
		"then watched": func(w *fixture, dir string) { w.Watch([]string{dir}) },
		"then closed":  func(w *fixture, _ string) { w.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t) + "/log"
			require.NoError(t, os.Mkdir(dir, 0o755))
			w := newWaker(t, dir)
			require.NoError(t, os.WriteFile(dir+"/access.log", nil, 0o600)) // an event that makes the others wait
			require.NoError(t, os.Rename(dir, dir+".old"))
			require.NoError(t, os.RemoveAll(dir+".old"))
			require.NoError(t, os.Mkdir(dir, 0o755))
			<-w.fs.Events
			require.Eventually(t, func() bool { return strings.Contains(stacks(), ".sendError(") }, patience, time.Millisecond)
			within(t, name, func() { ask(w, dir) })
			assert.Equal(t, 1, w.count("file events were lost"))
		})
	}
}

// stacks tells what all goroutines are doing.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

func TestAlarmSetAnew(t *testing.T) {
	a, err := newAlarm()
	require.NoError(t, err)
	for range 10 {
		a.Reset(0)
		require.Eventually(t, func() bool { return len(a.C) == 1 }, patience, time.Millisecond/10)
		began := time.Now()
		a.Reset(brief)
		<-a.C
		assert.GreaterOrEqual(t, time.Since(began), brief, "an earlier expiry is discarded")
	}
	a.Reset(time.Hour)
	a.Reset(brief)
	within(t, "an alarm set to an earlier time", func() { <-a.C })

	a.Reset(time.Hour)
	require.NoError(t, a.Close())
	require.Eventually(t, func() bool { return !strings.Contains(stacks(), "wake.newAlarm.") }, patience, time.Millisecond)
}
