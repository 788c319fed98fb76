package tail

import (
	"errors"
	"slices"
	"time"

	"sidecar.example/log-sidecar/internal/lines"
	"sidecar.example/log-sidecar/internal/logfiles"
)

const (
	// drainPause is how often the drain checks whether the writer has ended.
	drainPause = 50 * time.Millisecond

	// drainQuiet is how long the log must have been quiet if that cannot be known for
	// sure.
	drainQuiet = time.Second
)

// drain keeps following until nothing more can come, and then prints what is left.
//
// This container is told to stop at the same time as the one that writes the log, or
// before it, and the writer may still have requests to answer. Their lines must not be
// lost, and any fixed waiting time would be too long or too short. So the drain asks the
// kernel whether anybody still has a file of the log open for writing, and Ended whether
// the writer has ended. Where these cannot be sure, the log must also have been quiet for
// a while.
func (t *Tailer) drain() error {
	t.reader.Hurry()
	began := time.Now()
	held := false // somebody was seen to have the log open for writing
	for {
		if _, err := t.look(); err != nil {
			return err
		}
		ended, open := t.writerEnded(held, began)
		held = held || open
		if ended {
			// Anything written before that answer is in the file by now: look once more.
			t.stale = true
			n, err := t.look()
			if err != nil {
				return err
			}
			if n == 0 && !t.unfinished() {
				if err := t.finishLive(); !errors.Is(err, errAgain) && !errors.Is(err, lines.ErrTruncated) {
					return err
				}
			}
		}
		select {
		case <-time.After(drainPause):
		case <-t.abort.Done():
			return errAborted
		}
	}
}

// unfinished reports whether a file is left that is not printed: a rotated one that may be
// written to, or one that cannot be read.
func (t *Tailer) unfinished() bool {
	return t.stale || slices.ContainsFunc(t.files, func(f *file) bool {
		return f.trouble != nil || f.open != nil && !f.Live
	})
}

// writerEnded reports whether nobody can write to the log any more, and whether somebody
// has it open for writing. held says whether somebody had.
func (t *Tailer) writerEnded(held bool, began time.Time) (ended, open bool) {
	open, known := t.openForWriting()
	if open && known || t.unfinished() {
		return false, open && known
	}
	var appEnded, appKnown bool
	if t.cfg.Ended != nil {
		appEnded, appKnown = t.cfg.Ended()
	}
	if appKnown && !appEnded {
		return false, false
	}
	if known && appKnown && held {
		// The app may have opened the log between the two answers.
		open, known = t.openForWriting()
		return known && !open, open && known
	}
	// An app that opens its log for each line, or whose end nobody can tell.
	quietSince := began
	if last := t.lastFile(); last != nil {
		quietSince = last.changed
	}
	return time.Since(quietSince) >= t.quiet, false
}

// lastFile returns the file that changed last, or nil.
func (t *Tailer) lastFile() *file {
	if len(t.files) == 0 {
		return nil
	}
	return slices.MaxFunc(t.files, func(a, b *file) int { return a.changed.Compare(b.changed) })
}

// openForWriting reports whether anybody has a file of the log open for writing.
func (t *Tailer) openForWriting() (open, known bool) {
	known = true
	for _, f := range t.files {
		if f.open == nil {
			continue
		}
		t.log.Step()
		open, sure := logfiles.Writers(f.open)
		if open && sure {
			return true, true
		}
		known = known && sure
	}
	return false, known
}

// finishLive prints what follows the last \n of the files that are still open, without
// moving their positions: the line may be finished in another life.
func (t *Tailer) finishLive() error {
	for _, f := range t.files {
		if f.open == nil || f.ignored {
			continue
		}
		end, err := logfiles.Stat(f.open)
		if err != nil {
			return err
		}
		f.limit = end.Size
		at := f.at
		if err := t.printRest(f, &at); err != nil {
			return err
		}
	}
	return nil
}
