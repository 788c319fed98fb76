// Package tail follows a log file without losing a line, and without taking one
// twice: through rotation by rename, copytruncate, deletion, restarts and a sink
// that blocks. It knows nothing of what the lines are or where they go.
//
// One goroutine owns all of its state. It makes no use of what happened, only of
// what is: at each look it asks the file system which files there are, goes on
// from the checkpoint, and finishes each file before the next one. What wakes it,
// an event or a timer, makes no difference but in time.
package tail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// A Sink takes lines, in order, from one goroutine. The slices are valid only
// until the call returns. It may block; then the file is the buffer.
type Sink interface {
	// Line takes a line without its end. It is never empty.
	Line(line []byte)
	// Piece takes a part of a line that is longer than MaxLineBytes.
	Piece(piece []byte, last bool)
	// Flush returns when all that was taken is printed. What it was given between
	// two calls is one batch: what a kill may have printed twice.
	Flush() error
}

// Config is what a Tailer is made from. All fields but Ended are required.
type Config struct {
	Path         string        // the file to follow; nothing of it need exist
	StateDir     string        // where the checkpoint is kept; empty keeps none
	MaxLineBytes int           // a longer line goes to the sink in pieces
	PollInterval time.Duration // how often to look where no events can be had
	Sink         Sink
	Log          *slog.Logger

	// Ended says, during the drain, whether the program that writes the log has
	// ended, where that can be known. It may be nil, and it may take a while.
	Ended func() (ended, known bool)
}

const (
	// restTicks is how many poll intervals pass between two looks where events
	// tell of every change but those that got lost.
	restTicks = 5

	// maxPause is how long lines that keep coming wait for each other. What costs
	// in following a live file is not its lines but the wake-ups: a round of event,
	// read, write and sleep takes some 200 microseconds of CPU however little it
	// moves. So a line after a silence is printed at once, and the more come, the
	// longer the pauses between rounds, up to this one.
	maxPause = 37 * time.Millisecond

	// letGoAfter is how long a rotated file must have been quiet where the kernel
	// does not say whether anybody can still write to it.
	letGoAfter = 5 * time.Second

	// heldLong is how long a rotated file may be held before that is called an error:
	// its writer was not told to open the new one, or it is no log of that writer.
	heldLong = 30 * time.Second

	// movingPause lets a rotation come to its end.
	movingPause = 5 * time.Millisecond
)

// A state is where a look has ended.
type state string

const (
	missing state = "missing" // there is no log, or not yet again
	atEnd   state = "open"    // at the end of the live file
	holding state = "held"    // at the end of a rotated file that may still be written to
	failing state = "failing" // an error, which will be tried again
)

// A Tailer follows one log.
type Tailer struct {
	cfg   Config
	watch *watch
	stats stats

	measuring sync.Mutex // held while the lag is measured

	// owned by the goroutine in Run
	reader  reader
	ahead   []file // settled files after the open one
	state   state
	trouble string        // what is wrong, as Status says it; empty: nothing
	resumed bool          // the checkpoint of an earlier life has been looked for
	heldAt  time.Time     // since when a rotated file has been held
	retry   time.Duration // look again after this, whatever the events say; 0: no hurry
	alarm   *alarm        // nil outside of Run
}

// New opens the checkpoint; its error is about StateDir.
func New(cfg Config) (*Tailer, error) {
	cfg.Path = filepath.Clean(cfg.Path) // as the paths of its siblings are
	store, at, err := openStore(cfg.StateDir)
	switch {
	case errors.Is(err, errDamaged):
		cfg.Log.Warn("starting without a checkpoint: lines may be printed again", "error", err.Error())
	case err != nil:
		return nil, err
	}
	t := &Tailer{cfg: cfg, watch: newWatch(cfg.Path, cfg.Log), resumed: at.isZero()}
	t.reader = reader{cfg: &t.cfg, store: store, stats: &t.stats, place: place{at: at}}
	t.reader.moved()
	t.become(missing, "")
	return t, nil
}

// Run follows the log until ctx is done, and then drains it: it returns nil when
// everything is printed and nobody can write any more, and an error when abort is
// done before that, or when the sink fails.
func (t *Tailer) Run(ctx, abort context.Context) (err error) {
	defer t.watch.close()
	if t.alarm, err = newAlarm(); err != nil {
		return err
	}
	defer t.alarm.Close()
	var (
		rest time.Duration // between two looks, while there is something to see
		last time.Time     // when there was something to wake up for
	)
	for woken, renew := false, true; ctx.Err() == nil; {
		if renew || t.state != atEnd {
			t.watch.renew() // before the look, so that nothing falls between the two
		}
		n, err := t.look()
		if err != nil {
			return err
		}
		if n > 0 || woken {
			rest, last = nextRest(rest, last)
			if rest > 0 {
				t.alarm.Reset(rest)
				<-t.alarm.C // the events are left alone: unread, the kernel merges them
				woken, renew = false, false
				continue
			}
		}
		woken = t.wait(ctx)
		renew = !woken
	}
	return t.drain(abort)
}

// nextRest returns how long to wait for more: twice as long as before while
// there is something to wake up for at short intervals, and not at all after a
// silence.
func nextRest(rest time.Duration, last time.Time) (time.Duration, time.Time) {
	now := time.Now()
	if now.Sub(last) > 2*maxPause {
		return 0, now
	}
	return min(max(2*rest, time.Millisecond), maxPause), now
}

// wait waits until it is time to look again, and reports whether that was an
// event that said so.
func (t *Tailer) wait(ctx context.Context) bool {
	d := t.LongestWait()
	if t.watch.polling.Load() || t.state != atEnd {
		d = t.cfg.PollInterval
	}
	if t.retry > 0 {
		d = min(d, t.retry)
	}
	t.alarm.Reset(d)
	events, errs := t.watch.channels()
	select {
	case <-events:
		t.watch.skip()
		return true
	case err := <-errs:
		t.watch.failed(err)
		return true
	case <-t.alarm.C:
	case <-ctx.Done():
	}
	return false
}

// look prints all that is there to be printed, through as many files as there
// are, and returns how many bytes that was.
func (t *Tailer) look() (int64, error) {
	t.retry = 0
	before := t.reader.printed
	for range 1000 { // files; it is in no hurry to come back to the others
		again, err := t.lookOnce()
		if err != nil {
			t.ahead = nil // not all is as it was when that was listed
		}
		switch {
		case errors.Is(err, errSink):
			return 0, err
		case errors.Is(err, errMoving):
			t.retry = movingPause
			return t.reader.printed - before, nil
		case errors.Is(err, errTruncated):
			t.stats.change(func(s *stats) { s.status.Truncations++ })
			t.cfg.Log.Info("the log was truncated", "path", t.reader.file.Name(), "offset", t.reader.at.Offset)
			t.reader.back()
		case errors.Is(err, errOvertaken):
			t.reader.back()
		case err != nil:
			t.fail(err)
			return t.reader.printed - before, nil
		case !again:
			return t.reader.printed - before, nil
		}
	}
	return t.reader.printed - before, nil
}

// lookOnce reads the open file to its end and goes on to the next one where there
// is one; then it is to be called again.
func (t *Tailer) lookOnce() (again bool, err error) {
	r := &t.reader
	if r.file != nil {
		if err := r.read(); err != nil {
			return false, err
		}
		if len(t.ahead) > 0 && t.ahead[0].isUnchanged() {
			return t.letGo(func() error { return t.goOn(t.ahead) })
		}
		switch live, err := stat(t.cfg.Path); {
		case err == nil && live.id == r.at.ID:
			t.become(atEnd, "")
			return false, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return false, err
		}
	}
	files, err := list(t.cfg.Path)
	if err != nil {
		return false, err
	}
	if r.before != nil && !slices.ContainsFunc(files, func(f file) bool { return f.id == r.at.ID }) {
		return t.letGo(t.giveUp)
	}
	holder, after, err := locate(files, &r.at)
	if err != nil {
		return false, err
	}
	if r.file == nil && holder != nil {
		if err := r.resume(holder); err != nil {
			return false, err
		}
		t.resumed = true
		t.expect(after)
		return true, nil
	}
	if !t.resumed {
		t.resumed = true
		t.stats.change(func(s *stats) { s.status.Gaps++ })
		t.cfg.Log.Warn("no file holds the checkpoint any more: lines may be missing", "offset", r.at.Offset)
	}
	switch {
	case len(after) == 0:
		t.become(missing, "")
		return false, nil
	case r.file == nil:
		return true, t.goOn(after)
	default:
		return t.letGo(func() error { return t.goOn(after) })
	}
}

// expect remembers which files come next, so that not each of many takes a look at
// all of them.
func (t *Tailer) expect(after []file) {
	t.ahead = slices.DeleteFunc(after, func(f file) bool { return !f.settled })
}

// goOn goes on with the first of after.
func (t *Tailer) goOn(after []file) error {
	if err := t.reader.next(&after[0]); err != nil {
		return err
	}
	t.expect(after[1:])
	return nil
}

// giveUp leaves the open file, which was deleted before it had a line. It tells
// nothing of what comes next; the one before it does.
func (t *Tailer) giveUp() error {
	if err := t.reader.unterminated(); err != nil {
		return err
	}
	t.stats.change(func(s *stats) { s.status.Rotations++ })
	t.reader.back()
	return nil
}

// letGo leaves the open file, which has been read and is not the live one any
// more: but not as long as somebody may write to it, and not before it has been
// read once more after that was certain.
func (t *Tailer) letGo(leave func() error) (again bool, err error) {
	if t.isHeld() {
		return false, nil
	}
	before := t.reader.printed
	if err := t.reader.read(); err != nil || t.reader.printed > before {
		return true, err
	}
	return true, leave()
}

// isHeld reports whether somebody may still write to the open file, which is not
// the live one any more.
func (t *Tailer) isHeld() bool {
	r := &t.reader
	written, known := writers(r.file)
	if known && !written || !known && time.Since(r.changed) >= letGoAfter {
		return false
	}
	if t.state != holding {
		t.heldAt = time.Now()
	}
	held, trouble := time.Since(t.heldAt), ""
	if held > heldLong {
		trouble = fmt.Sprintf("%s was rotated, and somebody has had it open for writing for %s since", r.file.Name(), held.Round(time.Second))
	}
	t.become(holding, trouble)
	// A close makes no event here. Ask often at first, and then ever less.
	t.retry = min(max(held/2, 2*movingPause), t.cfg.PollInterval)
	return true
}

func (t *Tailer) become(s state, trouble string) {
	t.state, t.trouble = s, trouble
	t.stats.change(func(stats *stats) {
		stats.status.LastLook = time.Now()
		stats.status.File, stats.status.Error = string(s), trouble
	})
}

// fail says what is wrong, once, and has it tried again.
func (t *Tailer) fail(err error) {
	if t.trouble != err.Error() {
		t.cfg.Log.Error("the log cannot be read: trying again", "error", err.Error())
	}
	t.retry = t.cfg.PollInterval
	t.become(failing, err.Error())
}
