package tail

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"github.com/fsnotify/fsnotify"
)

// A watch tells when it may be worth looking at the log again. Its events are only hints:
// they can come late, be merged or get lost, so each look asks the file system itself.
// The directory is watched rather than the file, which changes its name and inode.
// Without events, polling does the same work, only later.
type watch struct {
	path    string // the log's own
	log     *slog.Logger
	fs      *fsnotify.Watcher // nil while polling
	polling atomic.Bool       // for other goroutines to read
	reason  string            // why it polls, as last logged; empty while it does not
}

func newWatch(path string, log *slog.Logger) *watch {
	w := &watch{path: path, log: log}
	w.polling.Store(true)
	return w
}

// renew makes sure that the directory is still watched: the kernel silently drops a watch
// when its directory goes. If nothing has changed, it costs a few system calls.
func (w *watch) renew() {
	err := w.add()
	if err == nil {
		if w.reason != "" {
			w.log.Info("watching the log's directory again")
		}
		w.reason = ""
		w.polling.Store(false)
		return
	}
	w.close()
	if w.reason != err.Error() {
		w.reason = err.Error()
		w.log.Warn("no file events: polling", "error", w.reason)
	}
}

func (w *watch) add() error {
	if w.fs == nil {
		watcher, err := fsnotify.NewWatcher() // fails if the user has too many instances
		if err != nil {
			return fmt.Errorf("start inotify: %w", err)
		}
		w.fs = watcher
	}
	dirs := []string{filepath.Dir(w.path)}
	// If the log is a symbolic link, writes cause events in the target's directory.
	if target, ok := linkTarget(w.path); ok {
		dirs = append(dirs, filepath.Dir(target))
	}
	for _, dir := range dirs {
		// Fails if there is no such directory, or if the user has too many watches.
		err := w.take(func() error { return w.fs.Add(dir) })
		if err != nil {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	return nil
}

// take calls do, a method of the watcher, and receives the watcher's errors meanwhile.
// fsnotify may hold its lock while it sends one, as when the directory was moved and then
// deleted: it would wait for us and we for it.
func (w *watch) take(do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	for errs := w.fs.Errors; ; {
		select {
		case err := <-done:
			return err
		case err, open := <-errs:
			if !open {
				errs = nil
				continue
			}
			w.log.Warn("file events were lost", "error", err.Error())
		}
	}
}

// channels returns the channels to wait on; while polling they are nil, so never ready.
func (w *watch) channels() (<-chan fsnotify.Event, <-chan error) {
	if w.fs == nil {
		return nil, nil
	}
	return w.fs.Events, w.fs.Errors
}

// skip discards the events queued behind the one just received: one look answers them
// all. The kernel merges only identical neighbours, so two logs in one directory can
// queue thousands, each of which would wake us up.
func (w *watch) skip() {
	misses := 0
	for turns := 0; turns < 1<<16 && misses < 4; turns++ { // at most four full queues
		runtime.Gosched() // let the watcher run: it hands over one event at a time
		select {
		case <-w.fs.Events:
			misses = 0
		default:
			misses++
		}
	}
}

// failed handles an error of the watcher. After an overflow of the kernel's queue, the
// look that follows makes up for the lost events; after any other error the watcher is
// replaced.
func (w *watch) failed(err error) {
	w.log.Warn("file events were lost", "error", fmt.Sprint(err))
	if !errors.Is(err, fsnotify.ErrEventOverflow) { // nil if the channel was closed
		w.close()
		w.renew()
	}
}

func (w *watch) close() {
	w.polling.Store(true)
	if w.fs != nil {
		_ = w.take(w.fs.Close) // it is dropped either way
		w.fs = nil
	}
}
