// Package tail follows a log file without losing a line, and without repeating any except
// the last batch after a kill: through rotation by rename, copytruncate, deletion,
// restarts and a sink that blocks. It does not know what the lines mean or where they go.
//
// One goroutine owns all of the state. It never relies on what an event says, only on
// what the file system says: each look asks which files there are, continues from the
// checkpoint, and finishes each file before starting the next. Whether an event or a
// timer started the look affects only when it happens.
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

// A Sink receives lines, in order, from one goroutine. The slices are valid only until
// the call returns. A Sink may block; the file is the buffer then.
type Sink interface {
	// Line receives a line, never empty, without its newline.
	Line(line []byte)
	// Piece receives a part of a line that is longer than MaxLineBytes.
	Piece(piece []byte, last bool)
	// Flush returns once everything received is printed. What is received between two
	// calls is one batch: after a kill, at most one batch is printed again.
	Flush() error
}

// Config configures a Tailer. StateDir may be empty and Ended nil; the rest is required.
type Config struct {
	Path         string        // the file to follow; it need not exist, nor its directory
	StateDir     string        // directory of the checkpoint; empty keeps none
	MaxLineBytes int           // longer lines go to the sink in pieces
	PollInterval time.Duration // how often to look while file events are unavailable
	Sink         Sink
	Log          *slog.Logger

	// Ended is asked during the drain whether the program that writes the log has ended,
	// and whether that is known. It may take a while; nil means that it is never known.
	Ended func() (ended, known bool)
}

const (
	// restTicks is how many poll intervals pass between two looks while file events
	// are available. These looks catch changes whose events were lost.
	restTicks = 5

	// maxPause is the longest pause between two looks while lines keep coming. The cost
	// of following a live file is not its lines but the wake-ups: a round of event, read,
	// write and sleep takes some 200 microseconds of CPU however little it moves. So the
	// first line after a silence is printed at once, and while more keep coming the
	// pauses between rounds grow, up to this one.
	maxPause = 37 * time.Millisecond

	// letGoAfter is how long a rotated file must have been quiet before it is left, if
	// the kernel does not say whether anybody can still write to it.
	letGoAfter = 5 * time.Second

	// heldLong is how long a rotated file may be held before that counts as an error: its
	// writer was not told to open the new one, or it is not the writer of this log.
	heldLong = 30 * time.Second

	// movingPause gives a rotation in progress time to finish.
	movingPause = 5 * time.Millisecond
)

// A state is the outcome of a look.
type state string

const (
	missing state = "missing" // there is no live file, and nothing older to read
	atEnd   state = "open"    // at the end of the live file
	holding state = "held"    // at the end of a rotated file that may still be written to
	failing state = "failing" // an error; the look will be retried
)

// A Tailer follows one log.
type Tailer struct {
	cfg   Config
	watch *watch
	stats stats

	measuring sync.Mutex // held while the lag is measured

	// owned by the goroutine in Run
	reader  reader
	ahead   []file // the settled files that come after the open one
	state   state
	trouble string        // Status.Error: what is wrong; empty: nothing
	resumed bool          // the stored checkpoint, if any, has been looked for
	heldAt  time.Time     // while holding: since when the open file has been held
	retry   time.Duration // look again after this even without an event; 0: no hurry
	alarm   *alarm        // nil outside Run
}

// New returns a Tailer that continues from the checkpoint in cfg.StateDir. It fails only
// if StateDir cannot be used.
func New(cfg Config) (*Tailer, error) {
	cfg.Path = filepath.Clean(cfg.Path) // like the paths of its siblings
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
	t.setState(missing, "")
	return t, nil
}

// Run follows the log until ctx is done, then drains it: it returns nil once everything
// is printed and nobody can write any more, and an error if abort is done before that, or
// if the sink fails.
func (t *Tailer) Run(ctx, abort context.Context) (err error) {
	defer t.watch.close()
	if t.alarm, err = newAlarm(); err != nil {
		return err
	}
	defer t.alarm.Close()
	var (
		rest time.Duration // pause before the next look while there is activity
		last time.Time     // of the latest activity: an event, or something printed
	)
	for woken, renew := false, true; ctx.Err() == nil; {
		if renew || t.state != atEnd {
			t.watch.renew() // before the look, so that no change falls between the two
		}
		n, err := t.look()
		if err != nil {
			return err
		}
		if n > 0 || woken {
			rest, last = nextRest(rest, last)
			if rest > 0 {
				t.alarm.Reset(rest)
				<-t.alarm.C // do not read events meanwhile: the kernel merges unread ones
				woken, renew = false, false
				continue
			}
		}
		woken = t.wait(ctx)
		renew = !woken
	}
	return t.drain(abort)
}

// nextRest returns the pause that follows this activity, and its time: no pause after a
// silence, and twice the pause before, up to maxPause, while activity continues.
func nextRest(rest time.Duration, last time.Time) (time.Duration, time.Time) {
	now := time.Now()
	if now.Sub(last) > 2*maxPause {
		return 0, now
	}
	return min(max(2*rest, time.Millisecond), maxPause), now
}

// wait waits until it is time to look again, and reports whether an event ended the wait.
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

// look prints everything there is to print, through as many files as there are, and
// returns how many bytes it printed.
func (t *Tailer) look() (int64, error) {
	t.retry = 0
	before := t.reader.printed
	for range 1000 { // files at a time: the caller must get to see that ctx is done
		again, err := t.lookOnce()
		if err != nil {
			t.ahead = nil // the files may have changed since they were listed
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

// lookOnce reads the open file to its end and moves on to the next one. It reports
// whether there is more to do: then it must be called again.
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
			t.setState(atEnd, "")
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
		t.cfg.Log.Warn("no file matches the checkpoint: lines may be missing", "offset", r.at.Offset)
	}
	switch {
	case len(after) == 0:
		t.setState(missing, "")
		return false, nil
	case r.file == nil:
		return true, t.goOn(after)
	default:
		return t.letGo(func() error { return t.goOn(after) })
	}
}

// expect remembers the settled files that come next, so that moving through many files
// does not list and check all of them each time.
func (t *Tailer) expect(after []file) {
	t.ahead = slices.DeleteFunc(after, func(f file) bool { return !f.settled })
}

// goOn moves on to the first file of after.
func (t *Tailer) goOn(after []file) error {
	if err := t.reader.next(&after[0]); err != nil {
		return err
	}
	t.expect(after[1:])
	return nil
}

// giveUp leaves the open file, which was deleted before it had a line. What comes next is
// found from the place before it, because an empty file says nothing about that.
func (t *Tailer) giveUp() error {
	if err := t.reader.printUnterminated(); err != nil {
		return err
	}
	t.stats.change(func(s *stats) { s.status.Rotations++ })
	t.reader.back()
	return nil
}

// letGo leaves the open file, which has been read and is no longer the live one, but only
// when nobody can write to it any more, and it has been read once more since that became
// certain.
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

// isHeld reports whether somebody may still write to the open file, which is no longer
// the live one.
func (t *Tailer) isHeld() bool {
	r := &t.reader
	written, known := writers(r.file)
	if known && !written || !known && time.Since(r.changed) >= letGoAfter {
		t.heldAt = time.Time{}
		return false
	}
	if t.state != holding || t.heldAt.IsZero() { // the last look did not end here, or let another file go
		t.heldAt = time.Now()
	}
	held, trouble := time.Since(t.heldAt), ""
	if held > heldLong {
		trouble = fmt.Sprintf("%s was rotated, but a process has kept it open for writing for %s since", r.file.Name(), held.Round(time.Second))
	}
	t.setState(holding, trouble)
	// The writer's close causes no event here. Ask often at first, then less and less.
	t.retry = min(max(held/2, 2*movingPause), t.cfg.PollInterval)
	return true
}

func (t *Tailer) setState(s state, trouble string) {
	t.state, t.trouble = s, trouble
	t.stats.change(func(stats *stats) {
		stats.status.LastLook = time.Now()
		stats.status.File, stats.status.Error = string(s), trouble
	})
}

// fail logs err, unless it was the last one too, and schedules a retry.
func (t *Tailer) fail(err error) {
	if t.trouble != err.Error() {
		t.cfg.Log.Error("the log cannot be read: retrying", "error", err.Error())
	}
	t.retry = t.cfg.PollInterval
	t.setState(failing, err.Error())
}
