package wake

import (
	"bytes"
	"context"
	"errors"
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

// waitFor waits for an event that must come, among others.
func (w *fixture) waitFor(h hint) {
	w.t.Helper()
	for !slices.Contains(w.hints, h) {
		require.True(w.t, w.Wait(w.t.Context(), patience))
	}
}

// sees wants that a write in dir wakes it.
func (w *fixture) sees(dir string) {
	w.t.Helper()
	assert.False(w.t, w.Polling())
	w.hints = nil
	require.NoError(w.t, write(dir+"/access.log"))
	w.waitFor(hint{dir + "/access.log", true})
}

// count returns how often something was logged.
func (w *fixture) count(message string) int { return strings.Count(w.said.String(), message) }

func write(path string) error { return os.WriteFile(path, []byte("a line\n"), 0o600) }

func TestEventEndsWait(t *testing.T) {
	for _, test := range []struct {
		name    string
		happens func(path string) error
		written bool // and no more than that
	}{
		{"written to", write, true},
		{"truncated", func(path string) error { return os.Truncate(path, 1) }, true},
		{"renamed", func(path string) error { return os.Rename(path, path+".1") }, false},
		{"deleted", os.Remove, false},
		{"replaced", func(path string) error { return errors.Join(write(path+".new"), os.Rename(path+".new", path)) }, false},
		{"made readable", func(path string) error { return os.Chmod(path, 0o644) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := t.TempDir() + "/access.log"
			require.NoError(t, write(path))
			w := newWaker(t, filepath.Dir(path))
			require.NoError(t, test.happens(path))
			w.waitFor(hint{path, test.written})
			if !test.written {
				assert.NotContains(t, w.hints, hint{path, true})
			}
		})
	}
}

func TestEventThatDoesNotMatter(t *testing.T) {
	dir := t.TempDir()
	w := newWaker(t, dir)
	require.NoError(t, write(dir+"/other.log"))
	for len(w.hints) == 0 {
		require.False(t, w.Wait(t.Context(), brief))
	}
	assert.Equal(t, hint{dir + "/other.log", false}, w.hints[0])
	require.NoError(t, write(dir+"/other.log"))
	w.sees(dir)
}

func TestPauseReadsNoEvents(t *testing.T) {
	dir := t.TempDir()
	w := newWaker(t, dir)
	require.NoError(t, write(dir+"/access.log"))
	began := time.Now()
	w.Pause(brief)
	assert.GreaterOrEqual(t, time.Since(began), brief)
	assert.Empty(t, w.hints)
	require.True(t, w.Wait(t.Context(), patience))
}

func TestWaitEndsInTime(t *testing.T) {
	dir := t.TempDir()
	for _, watched := range []string{dir, dir + "/missing"} {
		w := newWaker(t, watched)
		for range 3 {
			began := time.Now()
			require.False(t, w.Wait(t.Context(), brief))
			assert.GreaterOrEqual(t, time.Since(began), brief)
		}
		w.Wait(t.Context(), 0)
		w.Pause(-brief)
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		assert.False(t, w.Wait(ctx, time.Hour))
		assert.False(t, w.Wait(ctx, time.Hour), "at once")
		w.Close()
		assert.True(t, w.Polling())
	}
}

func TestEventsOfEachDirectory(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	w := newWaker(t, dirs...)
	for _, dir := range dirs {
		w.Watch(dirs) // once more does nothing
		w.sees(dir)
	}
	w.Watch(dirs[1:]) // a link that led to the other leads here now
	require.NoError(t, write(dirs[0]+"/access.log"))
	w.sees(dirs[1])
	assert.NotContains(t, w.hints, hint{dirs[0] + "/access.log", true})
	assert.Equal(t, dirs[1:], w.fs.WatchList())
	assert.Empty(t, w.said.String())
}

func TestMissingDirectoryIsPolled(t *testing.T) {
	there := t.TempDir()
	dir := there + "/log"
	w := newWaker(t)
	for life := 1; life <= 2; life++ {
		for range 3 {
			w.Watch([]string{there, dir})
			assert.True(t, w.Polling())
			require.False(t, w.Wait(t.Context(), brief))
		}
		require.NoError(t, os.Mkdir(dir, 0o755))
		for range 3 {
			w.Watch([]string{there, dir})
			w.sees(dir)
		}
		for _, message := range []string{"no file events: polling", dir, "watching the log's directory again"} {
			assert.Equal(t, life, w.count(message), "%s is said once", message)
		}
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
			dir := t.TempDir() + "/log"
			w := newWaker(t)
			for range 5 {
				require.NoError(t, os.Mkdir(dir, 0o755))
				w.Watch([]string{dir})
				w.sees(dir)
				w.hints = nil
				require.NoError(t, goes(dir))
				w.waitFor(lost) // nothing more will come of it
				require.NoError(t, os.RemoveAll(dir+".old"))
			}
		})
	}
}

func TestErrorsOfTheWatcher(t *testing.T) {
	for err, kept := range map[error]bool{
		fsnotify.ErrEventOverflow:                         true,
		fmt.Errorf("read: %w", fsnotify.ErrEventOverflow): true,
		os.ErrInvalid: false,
		nil:           false, // it dies, and closes its channels
	} {
		t.Run(fmt.Sprint(err), func(t *testing.T) {
			dir := t.TempDir()
			w := newWaker(t, dir)
			before := w.fs
			if err == nil {
				require.NoError(t, before.Close())
			} else {
				go func() { before.Errors <- err }()
			}
			for w.count("file events were lost") == 0 { // closed channels are ready for ever
				require.True(t, w.Wait(t.Context(), patience))
			}
			assert.Contains(t, w.hints, lost)
			assert.Equal(t, 1, w.count(fmt.Sprint(err)))
			assert.Equal(t, !kept, w.Polling())

			w.Watch([]string{dir})
			assert.Equal(t, kept, before == w.fs)
			w.sees(dir)
		})
	}
}

// One look answers all events that are there.
func TestFloodOfEventsIsFewWakeUps(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as main has it
	const events = 4000
	dir := t.TempDir()
	w := newWaker(t, dir)
	name := [2]string{dir + "/access.log", dir + "/access.log.1"}
	require.NoError(t, write(name[0]))
	for i := range events / 2 { // the kernel cannot merge them
		require.NoError(t, os.Rename(name[i%2], name[1-i%2]))
	}
	wakeUps := 0
	for ; len(w.hints) < events; wakeUps++ {
		require.True(t, w.Wait(t.Context(), patience))
	}
	assert.Less(t, wakeUps, events/20)
}
