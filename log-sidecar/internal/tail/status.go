package tail

import (
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
	status Status     // but for Lag and Polling, which are found out when asked for
	id     fileID     // of the file being read
	offset int64      // what is printed of it
}

func (s *stats) change(f func(*stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// Status may be called from any goroutine, also while the sink blocks.
func (t *Tailer) Status() Status {
	t.stats.mu.Lock()
	status, id, offset := t.stats.status, t.stats.id, t.stats.offset
	t.stats.mu.Unlock()
	status.Polling = t.watch.polling.Load()
	status.Lag = lag(t.cfg.Path, id, offset)
	return status
}

// lag is how many bytes the log has after offset in the file id. It asks the file
// system, because the goroutine in Run cannot while the sink blocks.
func lag(path string, id fileID, offset int64) int64 {
	files, err := scan(path)
	if err != nil {
		return 0
	}
	var behind int64 // in the files from id on
	found := id == fileID{}
	for _, f := range files {
		switch {
		case f.id == id:
			found, behind = true, max(0, f.size-offset)
		case found || f.live:
			behind += f.size
		}
	}
	return behind
}

// LongestWait is how long the loop sleeps at most where nothing happens.
func (t *Tailer) LongestWait() time.Duration { return restTicks * t.cfg.PollInterval }
