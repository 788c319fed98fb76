package tail

import (
	"os"
	"slices"
	"time"

	"sidecar.example/log-sidecar/internal/lines"
	"sidecar.example/log-sidecar/internal/logfiles"
)

// Status is a snapshot of a Tailer.
type Status struct {
	lines.Printed
	Lost
	Lag       int64 // bytes in the log that are not printed yet
	Rotations int64 // files printed to their end that are not the live one any more

	LastLook time.Time // when a look was last completed, or a batch printed
	Polling  bool      // file events are unavailable
	File     string    // the live file: missing, open or failing
	Followed int       // files that are open
	Held     []string  // rotated files that a process still has open for writing
	Troubles []string  // what cannot be read, and why

	opened []progress
	atRest map[logfiles.ID]int64 // how far files that are not open are printed
}

// progress is how far a file that is open is printed.
type progress struct {
	id     logfiles.ID
	offset int64
	file   *os.File // it may be closed meanwhile
}

// States of the live file.
const (
	missing = "missing"
	atEnd   = "open"
	failing = "failing"
)

// maxTroubles is how many troubles are told; a directory can have any number of files.
const maxTroubles = 10

// report tells what this look has found wrong, and publishes the status.
func (t *Tailer) report() {
	s := &t.status
	s.Troubles, s.Held, s.Followed = nil, nil, 0
	for _, err := range t.troubles {
		s.Troubles = append(s.Troubles, err.Error())
	}
	atRest, changed := 0, false
	for _, f := range t.files {
		switch {
		case f.trouble != nil:
			s.Troubles = append(s.Troubles, f.trouble.Error())
		case f.open != nil:
			s.Followed++
		}
		if f.open == nil {
			atRest++
			changed = changed || s.atRest[f.ID] != f.printed()
		}
		if !f.held.IsZero() && !f.Live {
			s.Held = append(s.Held, f.Name)
		}
	}
	if len(s.Troubles) > maxTroubles {
		s.Troubles = append(s.Troubles[:maxTroubles], "and more")
	}
	for _, trouble := range s.Troubles {
		if !slices.Contains(t.said, trouble) {
			t.cfg.Log.Error("the log cannot be read: retrying", "error", trouble)
		}
	}
	if t.said = s.Troubles; len(t.said) > 0 {
		t.comeBack(t.cfg.PollInterval)
	}
	if changed || len(s.atRest) != atRest {
		s.atRest = make(map[logfiles.ID]int64, atRest) // who was given the old one may read it still
		for _, f := range t.files {
			if f.open == nil {
				s.atRest[f.ID] = f.printed()
			}
		}
	}
	t.publish()
}

// publish makes a copy of the status known to other goroutines.
func (t *Tailer) publish() {
	s := t.status
	s.Printed, s.Lost = t.reader.Printed, t.lost
	switch live := t.live(); {
	case live != nil && live.trouble == nil:
		s.File = atEnd
	case live != nil || len(t.troubles) > 0:
		s.File = failing
	default:
		s.File = missing
	}
	s.opened = make([]progress, 0, s.Followed+1)
	for _, f := range t.files {
		if f.open != nil {
			s.opened = append(s.opened, progress{f.ID, f.at.Next(), f.open})
		}
	}
	t.snapshot.Store(&s)
}

// lagPatience is how long Status waits for a file system that hangs.
const lagPatience = 300 * time.Millisecond

// Status may be called from any goroutine. It answers even while the sink blocks or the
// file system hangs; in the latter case with the lag as far as the loop knows it.
func (t *Tailer) Status() Status {
	s := *t.snapshot.Load()
	waker := t.waker.Load()
	s.Polling = waker == nil || waker.Polling()
	measured := make(chan int64, 1)
	if t.measuring.TryLock() {
		go func() {
			lag := s.lag(t.log.List(1).Files)
			t.measuring.Unlock() // before it is told, or who asks next would not measure
			measured <- lag
		}()
		select {
		case s.Lag = <-measured:
			return s
		case <-time.After(lagPatience):
		}
	}
	s.Lag = s.lag(nil)
	return s
}

// lag returns how many bytes are not printed, given the files as they are now. It asks the
// file system itself, because the loop cannot while the sink blocks.
func (s *Status) lag(files []*logfiles.File) (lag int64) {
	listed := make(map[logfiles.ID]int64, len(files))
	for _, f := range files {
		listed[f.ID] = f.Size
	}
	for _, at := range s.opened {
		size, ok := listed[at.id]
		if !ok { // it has no name any more, or no name was asked for
			if info, err := at.file.Stat(); err == nil {
				size = info.Size()
			}
		}
		lag += max(0, size-at.offset)
		delete(listed, at.id)
	}
	for id, size := range listed {
		lag += max(0, size-s.atRest[id])
	}
	return lag
}

// LongestWait returns the longest time that the loop sleeps if nothing happens.
func (t *Tailer) LongestWait() time.Duration { return restTicks * t.cfg.PollInterval }
