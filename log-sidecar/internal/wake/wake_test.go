package wake

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	brief    = 10 * time.Millisecond
	patience = 20 * time.Second // where something is waited for that must come
)

// A hint is a call of the Waker's hint.
type hint struct {
	path    string
	written bool
}

var lost = hint{"", false}

// A fixture is a Waker with all that it has said. One goroutine at a time uses it.
type fixture struct {
	*Waker
	t     *testing.T
	hints []hint
	said  bytes.Buffer
}

// newWaker returns a Waker that watches the directories, and to which only files called
// access.log matter, and lost events.
func newWaker(t *testing.T, dirs ...string) *fixture {
	t.Helper()
	w := &fixture{t: t}
	var err error
	w.Waker, err = New(slog.New(slog.NewTextHandler(&w.said, nil)), func(path string, written bool) bool {
		w.hints = append(w.hints, hint{path, written})
		return path == "" || filepath.Base(path) == "access.log"
	})
	require.NoError(t, err)
	t.Cleanup(w.Close)
	assert.True(t, w.Polling(), "until it watches")
	if len(dirs) > 0 {
		w.Watch(dirs)
	}
	return w
}

// wait waits for an event that must come.
func (w *fixture) wait() {
	w.t.Helper()
	require.True(w.t, w.Wait(w.t.Context(), patience))
}

// waitFor waits for one that must come among others.
func (w *fixture) waitFor(h hint) {
	w.t.Helper()
	for !slices.Contains(w.hints, h) {
		w.wait()
	}
}

// sees wants that a write in dir wakes it.
func (w *fixture) sees(dir string) {
	w.t.Helper()
	assert.False(w.t, w.Polling())
	w.hints = nil
	write(w.t, dir+"/access.log")
	for !slices.ContainsFunc(w.hints, func(h hint) bool { return h.path == dir+"/access.log" }) {
		w.wait()
	}
}

// count returns how often something was logged.
func (w *fixture) count(message string) int { return strings.Count(w.said.String(), message) }

// within fails if f takes too long.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		require.Fail(t, what+" hangs")
	}
}

// newDir returns a directory with no link in its path.
func newDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return dir
}

func write(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	require.NoError(t, err)
	_, err = file.WriteString("a line\n")
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

func TestEventEndsWait(t *testing.T) {
	for _, test := range []struct {
		name    string
		happens func(t *testing.T, path string) error
		written bool // and no more than that
	}{
		{"written to", func(t *testing.T, path string) error { write(t, path); return nil }, true},
		{"truncated", func(_ *testing.T, path string) error { return os.Truncate(path, 1) }, true},
		{"renamed", func(_ *testing.T, path string) error { return os.Rename(path, path+".1") }, false},
		{"deleted", func(_ *testing.T, path string) error { return os.Remove(path) }, false},
		{"replaced", func(t *testing.T, path string) error { write(t, path+".new"); return os.Rename(path+".new", path) }, false},
		{"made readable", func(_ *testing.T, path string) error { return os.Chmod(path, 0o644) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := newDir(t) + "/access.log"
			write(t, path)
			w := newWaker(t, filepath.Dir(path))
			require.NoError(t, test.happens(t, path))
			w.waitFor(hint{path, test.written})
			if !test.written {
				assert.NotContains(t, w.hints, hint{path, true})
			}
		})
	}
}

func TestEventsOfEachDirectory(t *testing.T) {
	dirs := []string{newDir(t), newDir(t)}
	w := newWaker(t, dirs...)
	for _, dir := range dirs {
		w.Watch(dirs) // once more does nothing
		w.sees(dir)
	}
	assert.Empty(t, w.said.String())
}

func TestEventThatDoesNotMatter(t *testing.T) {
	dir := newDir(t)
	w := newWaker(t, dir)
	write(t, dir+"/other.log")
	for began := time.Now(); len(w.hints) == 0; {
		require.False(t, w.Wait(t.Context(), brief))
		require.Less(t, time.Since(began), patience)
	}
	assert.Equal(t, hint{dir + "/other.log", false}, w.hints[0])
	write(t, dir+"/other.log")
	w.sees(dir)
}

func TestPauseReadsNoEvents(t *testing.T) {
	dir := newDir(t)
	w := newWaker(t, dir)
	write(t, dir+"/access.log")
	began := time.Now()
	w.Pause(brief)
	assert.GreaterOrEqual(t, time.Since(began), brief)
	assert.Empty(t, w.hints)
	w.wait()
}

func TestWaitEndsInTime(t *testing.T) {
	dir := newDir(t)
	for name, dir := range map[string]string{"watching": dir, "polling": dir + "/missing"} {
		t.Run(name, func(t *testing.T) {
			w := newWaker(t, dir)
			for range 3 {
				began := time.Now()
				require.False(t, w.Wait(t.Context(), brief))
				assert.GreaterOrEqual(t, time.Since(began), brief)
			}
			within(t, "Wait", func() { w.Wait(t.Context(), 0) })
			within(t, "Pause", func() { w.Pause(-brief) })
			ctx, cancel := context.WithCancel(t.Context())
			within(t, "Wait", func() {
				go cancel()
				assert.False(t, w.Wait(ctx, time.Hour))
				assert.False(t, w.Wait(ctx, time.Hour), "at once")
			})
			within(t, "Close", w.Close)
			assert.True(t, w.Polling())
		})
	}
}

func TestMissingDirectoryIsPolled(t *testing.T) {
	there := newDir(t)
	dir := there + "/log"
	w := newWaker(t)
	for life := 1; life <= 2; life++ {
		for range 3 {
			w.Watch([]string{there, dir})
			assert.True(t, w.Polling())
			require.False(t, w.Wait(t.Context(), brief))
		}
		assert.Equal(t, life, w.count("no file events: polling"), "it is said once")
		assert.Equal(t, life, w.count(dir), "and why")

		require.NoError(t, os.Mkdir(dir, 0o755))
		for range 3 {
			w.Watch([]string{there, dir})
			assert.False(t, w.Polling())
		}
		assert.Equal(t, life, w.count("watching the log's directory again"), "it is said once")
		w.sees(dir)
		require.NoError(t, os.RemoveAll(dir))
	}
	w.Watch([]string{dir + "/a"})
	w.Watch([]string{dir + "/b"})
	assert.Equal(t, 4, w.count("no file events: polling"), "another reason is said")
}

// The kernel drops a watch with its directory, and says nothing of one that comes later.
func TestDirectoryMadeAnew(t *testing.T) {
	for name, goes := range map[string]func(dir string) error{
		"after it was deleted": os.RemoveAll,
		"after it was renamed": func(dir string) error { return os.Rename(dir, dir+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t) + "/log"
			w := newWaker(t)
			for range 5 {
				require.NoError(t, os.Mkdir(dir, 0o755))
				within(t, "Watch", func() { w.Watch([]string{dir}) })
				w.sees(dir)
				w.hints = nil
				require.NoError(t, goes(dir))
				w.waitFor(lost) // nothing more will come of it
				require.NoError(t, os.RemoveAll(dir+".old"))
			}
		})
	}
}

// The log is a link into a directory for each day.
func TestDirectoryIsWatchedNoLonger(t *testing.T) {
	today, tomorrow := newDir(t), newDir(t)
	w := newWaker(t, today)
	w.Watch([]string{tomorrow})
	write(t, today+"/access.log")
	w.sees(tomorrow)
	assert.NotContains(t, w.hints, hint{today + "/access.log", true})
	assert.Equal(t, []string{tomorrow}, w.fs.WatchList())
}

func TestErrorsOfTheWatcher(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error // nil: it dies, and closes its channels
		kept bool
	}{
		{"an overflow", fsnotify.ErrEventOverflow, true},
		{"an overflow with more to it", fmt.Errorf("read: %w", fsnotify.ErrEventOverflow), true},
		{"any other error", os.ErrInvalid, false},
		{"its end", nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := newDir(t)
			w := newWaker(t, dir)
			before := w.fs
			if test.err == nil {
				require.NoError(t, before.Close())
			} else {
				go func() { before.Errors <- test.err }()
			}
			for w.count("file events were lost") == 0 {
				w.wait()
			}
			assert.Contains(t, w.hints, lost)
			assert.Contains(t, w.said.String(), fmt.Sprint(test.err))
			assert.Equal(t, !test.kept, w.Polling())

			w.Watch([]string{dir})
			assert.Equal(t, test.kept, before == w.fs)
			w.sees(dir)
		})
	}
}

// One look answers all events that are there.
func TestFloodOfEventsIsFewWakeUps(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as main has it
	const events = 4000
	dir := newDir(t)
	w := newWaker(t, dir)
	name := [2]string{dir + "/access.log", dir + "/access.log.1"}
	write(t, name[0])
	for i := range events / 2 { // the kernel cannot merge them
		require.NoError(t, os.Rename(name[i%2], name[1-i%2]))
	}
	wakeUps := 0
	for len(w.hints) < events {
		w.wait()
		wakeUps++
	}
	assert.Less(t, wakeUps, events/20)
}
