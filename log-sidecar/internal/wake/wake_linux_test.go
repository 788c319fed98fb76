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

// awaitStacks waits until the stacks of all goroutines contain part, or no longer do.
func awaitStacks(t *testing.T, part string, contained bool) {
	t.Helper()
	buf := make([]byte, 1<<20)
	require.Eventually(t, func() bool {
		return contained == strings.Contains(string(buf[:runtime.Stack(buf, true)]), part)
	}, patience, time.Millisecond)
}

// fsnotify holds its lock while it sends the error of a directory that was moved and then
// deleted: who asks it for something instead of taking the error would wait for ever.
func TestDirectoryMovedAndDeleted(t *testing.T) {
	for name, ask := range map[string]func(w *fixture, dir string){
		"then watched": func(w *fixture, dir string) { w.Watch([]string{dir}) },
		"then closed":  func(w *fixture, _ string) { w.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir() + "/log"
			require.NoError(t, os.Mkdir(dir, 0o755))
			w := newWaker(t, dir)
			require.NoError(t, os.WriteFile(dir+"/access.log", nil, 0o600)) // an event that makes the others wait
			require.NoError(t, os.Rename(dir, dir+".old"))
			require.NoError(t, os.RemoveAll(dir+".old"))
			require.NoError(t, os.Mkdir(dir, 0o755))
			<-w.fs.Events
			awaitStacks(t, ".sendError(", true)
			ask(w, dir)
			assert.Equal(t, 1, w.count("file events were lost"))
		})
	}
}

func TestAlarmSetAnew(t *testing.T) {
	w := newWaker(t)
	for range 10 {
		w.alarm.Reset(0)
		require.Eventually(t, func() bool { return len(w.alarm.C) == 1 }, patience, time.Millisecond/10)
		began := time.Now()
		w.alarm.Reset(brief)
		<-w.alarm.C
		assert.GreaterOrEqual(t, time.Since(began), brief, "an earlier expiry is discarded")
	}
	w.alarm.Reset(time.Hour)
	w.alarm.Reset(brief)
	<-w.alarm.C

	w.alarm.Reset(time.Hour)
	w.Close()
	awaitStacks(t, "wake.newAlarm.", false)
}
