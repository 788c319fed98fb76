package tail

import (
	"context"
	"errors"
	"time"
)

const (
	// drainPause is how often the drain asks whether the writer has ended.
	drainPause = 50 * time.Millisecond

	// drainQuiet is how long the log must have been quiet where no sure answer to
	// that can be had.
	drainQuiet = time.Second
)

// errAborted is returned for a drain that was ended before its time.
var errAborted = errors.New("drain was cut short")

// drain goes on following until nothing more can come, and prints what is left.
//
// A container is told to stop at the same time as the one that writes the log, or
// before it, and that one may have requests to answer yet. Its lines must not be
// lost, and waiting for a fixed time would be too long or too short. So the drain
// asks the kernel whether anybody still has the log open for writing, and the
// writer's health check whether it has gone. With both answers it is sure; with
// one missing, the log must have been quiet for a while besides.
func (t *Tailer) drain(abort context.Context) error {
	began := time.Now()
	for {
		n, err := t.look()
		if err != nil {
			return err
		}
		if n == 0 && t.writerEnded(began) {
			// What was written before the answer was given is in the file by now.
			n, err := t.look()
			if err != nil {
				return err
			}
			if n == 0 && t.retry == 0 && (t.state == atEnd || t.state == missing) {
				// A rotation at this very moment is followed first.
				if err := t.reader.unterminated(); !errors.Is(err, errTruncated) && !errors.Is(err, errOvertaken) && !errors.Is(err, errMoving) {
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
		// It may have opened the log between the two questions.
		open, openKnown = t.openForWriting()
		return openKnown && !open
	}
	quietSince := t.reader.changed
	if t.reader.file == nil {
		quietSince = began
	}
	return time.Since(quietSince) >= drainQuiet
}

func (t *Tailer) openForWriting() (open, known bool) {
	if t.reader.file == nil {
		return false, true
	}
	return writers(t.reader.file)
}
