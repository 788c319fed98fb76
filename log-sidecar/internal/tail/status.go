package tail

import (
	"sync"
	"sync/atomic"
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
	lines, bytes, rotations, truncations, splitLines, gaps atomic.Int64

	lastLine, lastLook atomic.Int64 // ns since 1970

	mu     sync.Mutex // protects following; never held while something may block
	id     fileID     // of the file being read
	offset int64      // what is printed of it
	state  state
	err    string
}

func (s *stats) printed(lines int64) {
	now := time.Now().UnixNano()
	s.lastLook.Store(now)
	if lines > 0 {
		s.lines.Add(lines)
		s.lastLine.Store(now)
	}
}

func (s *stats) advanced(n, offset int64) {
	s.bytes.Add(n)
	s.mu.Lock()
	s.offset = offset
	s.mu.Unlock()
}

func (s *stats) setPosition(id fileID, offset int64) {
	s.mu.Lock()
	s.id, s.offset = id, offset
	s.mu.Unlock()
}

func (s *stats) setState(state state, err string) {
	s.lastLook.Store(time.Now().UnixNano())
	s.mu.Lock()
	s.state, s.err = state, err
	s.mu.Unlock()
}

// Status may be called from any goroutine, also while the sink blocks.
func (t *Tailer) Status() Status {
	s := &t.stats
	status := Status{
		Lines:       s.lines.Load(),
		Bytes:       s.bytes.Load(),
		Rotations:   s.rotations.Load(),
		Truncations: s.truncations.Load(),
		SplitLines:  s.splitLines.Load(),
		Gaps:        s.gaps.Load(),
		LastLook:    time.Unix(0, s.lastLook.Load()),
		Polling:     t.watch.polling.Load(),
	}
	if last := s.lastLine.Load(); last != 0 {
		status.LastLine = time.Unix(0, last)
	}
	s.mu.Lock()
	id, offset := s.id, s.offset
	status.File, status.Error = string(s.state), s.err
	s.mu.Unlock()
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
