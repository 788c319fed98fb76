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

// A watch tells when it may be worth looking at the log again. Its events are
// hints and nothing more: they can come late, be merged or get lost, and the file
// system itself is asked each time. So the directory is watched, not the file,
// which changes its name and its inode; and where no events can be had, polling
// does the same work, later.
type watch struct {
	path    string // the log's own
	log     *slog.Logger
	fs      *fsnotify.Watcher // nil while polling
	polling atomic.Bool       // for other goroutines to read
	reason  string            // why it polls, as it was last said
}

func newWatch(path string, log *slog.Logger) *watch {
	w := &watch{path: path, log: log}
	w.polling.Store(true)
	return w
}

// renew makes sure that the directory is watched, which it may not be any more:
// the kernel drops a watch without a word when its directory goes. It costs a
// system call where nothing has changed.
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
		watcher, err := fsnotify.NewWatcher() // fails when the user has too many inotify instances
		if err != nil {
			return fmt.Errorf("start inotify: %w", err)
		}
		w.fs = watcher
	}
	dirs := []string{filepath.Dir(w.path)}
	// Behind a symbolic link it is the target's directory that sees the writes.
	if target, ok := linkTarget(w.path); ok {
		dirs = append(dirs, filepath.Dir(target))
	}
	for _, dir := range dirs {
		err := w.take(func() error { return w.fs.Add(dir) }) // fails when there is no directory, or too many watches
		if err != nil {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
	}
	return nil
}

// take has the watcher do something and takes its errors meanwhile. For fsnotify
// may hold its lock while it sends one, as when the directory was moved and then
// deleted: it would wait for us, and we for it.
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

// channels returns what to wait on; a nil channel is never ready.
func (w *watch) channels() (<-chan fsnotify.Event, <-chan error) {
	if w.fs == nil {
		return nil, nil
	}
	return w.fs.Events, w.fs.Errors
}

// skip takes the events that wait behind one that was taken: one look answers them
// all. The kernel merges only equal neighbours, so two logs in one directory leave
// thousands, where each would be a reason to wake up.
func (w *watch) skip() {
	misses := 0
	for turns := 0; turns < 1<<16 && misses < 4; turns++ { // four queues full, of the default length
		runtime.Gosched() // the watcher hands them over one by one, when it gets to run
		select {
		case <-w.fs.Events:
			misses = 0
		default:
			misses++
		}
	}
}

// failed takes an error of the watcher. An overflow of the kernel's queue means
// that events were lost, which the look that follows makes up for; after anything
// else the watcher is made anew.
func (w *watch) failed(err error) {
	w.log.Warn("file events were lost", "error", fmt.Sprint(err))
	if !errors.Is(err, fsnotify.ErrEventOverflow) { // nil where the channel is closed
		w.close()
		w.renew()
	}
}

func (w *watch) close() {
	w.polling.Store(true)
	if w.fs != nil {
		_ = w.take(w.fs.Close) // there is nothing to be done about it
		w.fs = nil
	}
}
