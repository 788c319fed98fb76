// Package wake tells when it may be worth looking at files again. What it says is only a
// hint: events come late, are merged and get lost, so whoever is woken asks the file
// system itself. Without events, polling does the same work, only later.
package wake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A Waker watches directories rather than files, which change their names and inodes. All
// methods but Polling are for one goroutine.
type Waker struct {
	log *slog.Logger
	// hint is told the path that an event is about, or "" if events were lost, and whether
	// the file was merely written to. It reports whether that matters.
	hint func(path string, written bool) bool

	alarm   *alarm
	fs      *fsnotify.Watcher // nil while polling
	dirs    []string          // that fs watches
	polling atomic.Bool
	reason  string // why it polls, as last logged; empty while it does not
}

// New returns a Waker that polls until Watch is called.
func New(log *slog.Logger, hint func(path string, written bool) bool) (*Waker, error) {
	alarm, err := newAlarm()
	w := &Waker{log: log, hint: hint, alarm: alarm}
	w.polling.Store(true)
	return w, err
}

// Watch makes sure that the directories are watched: the kernel silently drops a watch
// when its directory goes. If nothing has changed, it costs a few system calls. It must
// come before a look, so that no change falls between the two.
func (w *Waker) Watch(dirs []string) {
	err := w.add(dirs)
	if err == nil {
		if w.reason != "" {
			w.log.Info("watching the log's directory again")
		}
		w.reason = ""
		w.polling.Store(false)
		return
	}
	w.Poll(err)
}

// Poll ends the watch, because of err, until Watch is called.
func (w *Waker) Poll(err error) {
	w.drop()
	if w.reason != err.Error() {
		w.reason = err.Error()
		w.log.Warn("no file events: polling", "error", w.reason)
	}
}

func (w *Waker) add(dirs []string) error {
	if w.fs == nil {
		watcher, err := fsnotify.NewWatcher() // fails if the user has too many instances
		if err != nil {
			return fmt.Errorf("start inotify: %w", err)
		}
		w.fs, w.dirs = watcher, nil
	}
	for _, dir := range w.dirs { // a link may have led there
		if !slices.Contains(dirs, dir) {
			_ = w.take(func() error { return w.fs.Remove(dir) }) // the kernel may have done so
		}
	}
	w.dirs = slices.Clone(dirs)
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
func (w *Waker) take(do func() error) error {
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

// Polling reports whether there are no events. It may be called from any goroutine.
func (w *Waker) Polling() bool { return w.polling.Load() }

// Wait waits for d, for ctx, or for an event that matters, and reports whether it was an
// event.
func (w *Waker) Wait(ctx context.Context, d time.Duration) bool {
	w.alarm.Reset(d)
	for {
		var events <-chan fsnotify.Event // nil is never ready
		var errs <-chan error
		if w.fs != nil {
			events, errs = w.fs.Events, w.fs.Errors
		}
		select {
		case event := <-events:
			if w.matters(event) {
				return true
			}
		case err := <-errs:
			w.failed(err)
			return true
		case <-w.alarm.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// Pause waits for d and reads no events meanwhile: the kernel merges unread ones.
func (w *Waker) Pause(d time.Duration) {
	w.alarm.Reset(d)
	<-w.alarm.C
}

// matters takes in event and those queued behind it: one look answers them all. The
// kernel merges only identical neighbours, so two logs in one directory can queue
// thousands, each of which would wake us up.
func (w *Waker) matters(event fsnotify.Event) bool {
	matters := w.tell(event)
	misses := 0
	for turns := 0; turns < 1<<16 && misses < 4; turns++ { // at most four full queues
		runtime.Gosched() // let the watcher run: it hands over one event at a time
		select {
		case event := <-w.fs.Events:
			misses = 0
			if w.tell(event) {
				matters = true
			}
		default:
			misses++
		}
	}
	return matters
}

// tell passes on what an event is about. Of a directory that goes, nothing more will come:
// that is as if events were lost.
func (w *Waker) tell(event fsnotify.Event) bool {
	if slices.Contains(w.dirs, event.Name) {
		return w.hint("", false)
	}
	return w.hint(event.Name, event.Op == fsnotify.Write)
}

// failed handles an error of the watcher. After an overflow of the kernel's queue, the
// look that follows makes up for the lost events; after any other error, the next Watch
// replaces the watcher.
func (w *Waker) failed(err error) {
	w.log.Warn("file events were lost", "error", fmt.Sprint(err))
	w.hint("", false)
	if !errors.Is(err, fsnotify.ErrEventOverflow) { // nil if the channel was closed
		w.drop()
	}
}

// drop ends the watch.
func (w *Waker) drop() {
	w.polling.Store(true)
	if w.fs != nil {
		_ = w.take(w.fs.Close) // it is gone either way
		w.fs = nil
	}
}

// Close ends the watch for good.
func (w *Waker) Close() {
	w.drop()
	_ = w.alarm.Close()
}
