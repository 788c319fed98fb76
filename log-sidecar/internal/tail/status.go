package tail

import (
	"os"
	"sync"
	"time"
)

// Status is a snapshot of a Tailer.
type Status struct {
	Lines       int64 // printed; a line in pieces counts once
	Bytes       int64 // printed, of the log
	Lag         int64 // bytes in the log that are not printed yet
	Rotations   int64 // files read to their end and left for the next one
	Truncations int64
	SplitLines  int64 // lines longer than MaxLineBytes
	Gaps        int64 // starts without the checkpoint's file: lines may be missing

	LastLine time.Time // when the last line was printed; zero: none yet
	LastLook time.Time // when the loop was last known to be running
	Polling  bool      // file events are unavailable
	File     string    // missing, open, held or failing
	Error    string    // why it is failing, or has been held for long
}

// stats is what the goroutine in Run shares with others.
type stats struct {
	mu     sync.Mutex // protects following; never held while something may block
	status Status     // except Polling; Lag is measured when asked for
	file   *os.File   // the one being read; nil: none
	id     fileID     // of file or, without one, of the file with the checkpoint
	offset int64      // up to which it is printed
}

func (s *stats) change(f func(*stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// lagPatience is how long Status waits for a file system that hangs.
const lagPatience = 300 * time.Millisecond

// Status may be called from any goroutine. It answers even while the sink blocks or the
// file system hangs; in the latter case with the last lag measured.
func (t *Tailer) Status() Status {
	if t.measuring.TryLock() {
		measured := make(chan struct{})
		go func() {
			t.measureLag()
			t.measuring.Unlock()
			close(measured)
		}()
		select {
		case <-measured:
		case <-time.After(lagPatience):
		}
	}
	t.stats.mu.Lock()
	defer t.stats.mu.Unlock()
	status := t.stats.status
	status.Polling = t.watch.polling.Load()
	return status
}

// measureLag measures how many bytes of the log are not printed. It asks the file system
// itself, because the goroutine in Run cannot while the sink blocks.
func (t *Tailer) measureLag() {
	t.stats.mu.Lock()
	file, id, offset := t.stats.file, t.stats.id, t.stats.offset
	t.stats.mu.Unlock()
	files, err := scan(t.cfg.Path)
	if err != nil {
		return
	}
	var lag int64
	found := id == fileID{} // until found, only the live file is sure to come after it
	for _, f := range files {
		switch {
		case f.id == id:
			found, lag = true, max(0, f.size-offset)
		case found || f.live:
			lag += f.size
		}
	}
	if !found && file != nil { // deleted, but still open
		if info, err := file.Stat(); err == nil {
			lag += max(0, info.Size()-offset)
		}
	}
	t.stats.change(func(s *stats) { s.status.Lag = lag })
}

// LongestWait returns the longest time that the loop sleeps if nothing happens.
func (t *Tailer) LongestWait() time.Duration { return restTicks * t.cfg.PollInterval }
