package tail

import (
	"os"
	"sync"
	"time"
)

// Status is what there is to know about a Tailer at a moment.
type Status struct {
	Lines       int64 // printed; a line in pieces counts once
	Bytes       int64 // printed, of the log
	Lag         int64 // bytes that are in the log and not printed
	Rotations   int64 // files finished and left for the next one
	Truncations int64
	SplitLines  int64 // lines longer than MaxLineBytes
	Gaps        int64 // times that the checkpoint's file was gone: lines may be missing

	LastLine time.Time // when a line was printed last; zero: none yet
	LastLook time.Time // when the loop was last seen alive
	Polling  bool      // no file events can be had
	File     string    // missing, open, held or failing
	Error    string    // why it is failing
}

// stats is what the goroutine in Run tells the others.
type stats struct {
	mu     sync.Mutex // protects following; never held while something may block
	status Status     // but for Polling; Lag is found out when asked for
	file   *os.File   // being read; nil while there is none
	id     fileID     // of file, or of the one where the checkpoint is
	offset int64      // what is printed of it
}

func (s *stats) change(f func(*stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// lagPatience is how long Status waits for a file system that does not answer.
const lagPatience = 300 * time.Millisecond

// Status may be called from any goroutine. It answers also while the sink blocks,
// and while the file system does: then with the lag that was found last.
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

// measureLag finds out how many bytes the log has that are not printed. It asks the
// file system, because the goroutine in Run cannot while the sink blocks.
func (t *Tailer) measureLag() {
	t.stats.mu.Lock()
	file, id, offset := t.stats.file, t.stats.id, t.stats.offset
	t.stats.mu.Unlock()
	files, err := scan(t.cfg.Path)
	if err != nil {
		return
	}
	var lag int64
	found := id == fileID{} // else only the live file is sure to come after it
	for _, f := range files {
		switch {
		case f.id == id:
			found, lag = true, max(0, f.size-offset)
		case found || f.live:
			lag += f.size
		}
	}
	if !found && file != nil { // it was deleted, and is open
		if info, err := file.Stat(); err == nil {
			lag += max(0, info.Size()-offset)
		}
	}
	t.stats.change(func(s *stats) { s.status.Lag = lag })
}

// LongestWait is how long the loop sleeps at most where nothing happens.
func (t *Tailer) LongestWait() time.Duration { return restTicks * t.cfg.PollInterval }
