package tail

import (
	"context"
	"errors"
	"time"
)

const (
	// drainPause is how often the drain checks whether the writer has ended.
	drainPause = 50 * time.Millisecond

	// drainQuiet is how long the log must have been quiet if that cannot be known for
	// sure.
	drainQuiet = time.Second
)

// errAborted is returned for a drain that abort has ended.
var errAborted = errors.New("drain was cut short")

// drain keeps following until nothing more can come, and then prints what is left.
//
// This container is told to stop at the same time as the one that writes the log, or
// before it, and the writer may still have requests to answer. Their lines must not be
// lost, and any fixed waiting time would be too long or too short. So the drain asks the
// kernel whether anybody still has the log open for writing, and Ended whether the writer
// has ended. With both answers it is sure; if one is missing, the log must also have been
// quiet for a while.
func (t *Tailer) drain(abort context.Context) error {
	began := time.Now()
	for {
		n, err := t.look()
		if err != nil {
			return err
		}
		if n == 0 && t.writerEnded(began) {
			// Anything written before that answer is in the file by now: look once more.
			n, err := t.look()
			if err != nil {
				return err
			}
			if n == 0 && t.retry == 0 && (t.state == atEnd || t.state == missing) {
				// If the log is being rotated at this moment, follow that first.
				if err := t.reader.printUnterminated(); !errors.Is(err, errTruncated) && !errors.Is(err, errOvertaken) && !errors.Is(err, errMoving) {
					return err
				}
			}
		}
		select {
		case <-time.After(drainPause):
		case <-abort.Done():
			return errAborted
		}
	}
}

// writerEnded reports whether nobody can write to the log any more.
func (t *Tailer) writerEnded(began time.Time) bool {
	if t.state == holding || t.state == failing {
		return false
	}
	open, openKnown := t.openForWriting()
	if open && openKnown {
		return false
	}
	var ended, endedKnown bool
	if t.cfg.Ended != nil {
		ended, endedKnown = t.cfg.Ended()
	}
	if endedKnown && !ended {
		return false
	}
	if openKnown && endedKnown {
		// The writer may have opened the log between the two answers.
		open, openKnown = t.openForWriting()
		return openKnown && !open
	}
	quietSince := t.reader.changed
	if t.reader.file == nil {
		quietSince = began
	}
	return time.Since(quietSince) >= drainQuiet
}

// openForWriting reports whether anybody has the open file open for writing.
func (t *Tailer) openForWriting() (open, known bool) {
	if t.reader.file == nil {
		return false, true
	}
	return writers(t.reader.file)
}
