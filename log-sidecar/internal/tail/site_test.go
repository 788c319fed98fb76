package tail

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for what must come. It is never waited out.
const patience = 20 * time.Second

// A sink keeps what it is given, in place of stdout. A piece is kept with a mark,
// "+" where the line goes on and "." where it ends.
type sink struct {
	mu      sync.Mutex // protects following
	lines   []string   // printed
	taken   []string   // since the last Flush
	flushes int
	gate    chan struct{} // Flush waits until it is closed; nil: does not wait
	waiting bool          // Flush waits
	err     error         // of the next Flush
}

func (s *sink) Line(line []byte) { s.take(string(line)) }

func (s *sink) Piece(piece []byte, last bool) {
	if last {
		s.take(string(piece) + ".")
	} else {
		s.take(string(piece) + "+")
	}
}

func (s *sink) take(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = append(s.taken, line)
}

func (s *sink) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if gate := s.gate; gate != nil {
		s.waiting = true
		s.mu.Unlock()
		<-gate
		s.mu.Lock()
		s.waiting = false
	}
	s.lines, s.taken = append(s.lines, s.taken...), nil
	s.flushes++
	return s.err
}

// block makes Flush wait until unblock.
func (s *sink) block() (unblock func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = make(chan struct{})
	return s.unblock
}

func (s *sink) unblock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gate != nil {
		close(s.gate)
		s.gate = nil
	}
}

func (s *sink) blocked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sink) printed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines...)
}

// A site is a log, and a tailer that follows it: one look at a time (look), or in
// a goroutine (run).
type site struct {
	t       testing.TB
	dir     string // the log's directory
	path    string // the log
	cfg     Config
	sink    *sink
	log     *syncBuffer
	hook    func()  // called before each system call that decides something
	tailer  *Tailer // nil while it is down
	running *running
}

// A running is a call of Run.
type running struct {
	stop, abort context.CancelFunc
	ended       chan error
}

func newSite(t testing.TB) *site {
	base := t.TempDir()
	s := &site{t: t, dir: filepath.Join(base, "log"), sink: &sink{}, log: &syncBuffer{}, hook: func() {}}
	s.path = filepath.Join(s.dir, "access.log")
	state := filepath.Join(base, "state")
	require.NoError(t, os.Mkdir(s.dir, 0o755))
	require.NoError(t, os.Mkdir(state, 0o755))
	s.cfg = Config{
		Path:         s.path,
		StateDir:     state,
		MaxLineBytes: 1 << 20,
		PollInterval: 20 * time.Millisecond,
		Sink:         s.sink,
		Log:          slog.New(slog.NewTextHandler(s.log, nil)),
	}
	t.Cleanup(s.kill)
	return s
}

// newLog returns a site and the writer of its log, with so many lines that are printed.
func newLog(t testing.TB, lines int) (*site, *writer) {
	s := newSite(t)
	w := newWriter(t, s.path)
	if lines > 0 {
		w.some(lines)
		s.look()
	}
	return s, w
}

// start starts the tailer without running it.
func (s *site) start() {
	require.Nil(s.t, s.tailer, "the tailer is up already")
	tailer, err := New(s.cfg)
	require.NoError(s.t, err)
	tailer.log.Hook = func() { s.hook() }
	s.tailer = tailer
}

// look looks until nothing more is found; it starts the tailer where it is down.
func (s *site) look() {
	s.t.Helper()
	if s.tailer == nil {
		s.start()
	}
	for still := 0; still < 2; {
		s.tailer.stale = true
		n, err := s.tailer.look()
		require.NoError(s.t, err)
		if still++; n > 0 || s.tailer.stale {
			still = 0
		}
	}
}

// lookUntil looks until a condition holds.
func (s *site) lookUntil(what string, holds func() bool) {
	s.t.Helper()
	s.eventually(what, func() bool {
		s.look()
		return holds()
	})
}

// kill ends a tailer that is not running as SIGKILL does: nothing is saved.
func (s *site) kill() {
	if s.running != nil {
		s.sink.unblock()
		s.running.abort()
		s.running.stop()
		<-s.running.ended
		s.running = nil
	}
	if s.tailer != nil {
		s.tailer.close()
		s.tailer = nil
	}
}

// run starts the tailer and has it follow the log.
func (s *site) run() {
	if s.tailer == nil {
		s.start()
	}
	ctx, stop := context.WithCancel(context.Background())
	drain, abort := context.WithCancel(context.Background())
	s.running = &running{stop: stop, abort: abort, ended: make(chan error, 1)}
	go func(t *Tailer, r *running) { r.ended <- t.Run(ctx, drain) }(s.tailer, s.running)
}

// stop has a running tailer drain the log, and returns how that ended.
func (s *site) stop() error {
	s.t.Helper()
	s.running.stop()
	return s.ended()
}

// ended waits until Run returns.
func (s *site) ended() error {
	s.t.Helper()
	select {
	case err := <-s.running.ended:
		s.running.ended <- nil // for kill
		s.kill()
		return err
	case <-time.After(patience):
		s.t.Fatal("Run does not return")
		return nil
	}
}

// prints looks, and wants all that w has written to be printed, and nothing more.
func (s *site) prints(w *writer) {
	s.t.Helper()
	s.look()
	s.want(w.lines)
}

// want asserts that just these lines have been printed, each once and in order.
func (s *site) want(lines []string) {
	s.t.Helper()
	wantLines(s.t, lines, s.sink.printed())
}

// wantSoon waits for these lines to be printed, and no others.
func (s *site) wantSoon(lines []string) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for len(s.sink.printed()) < len(lines) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	s.want(lines)
}

// eventually waits for a condition.
func (s *site) eventually(what string, holds func() bool) {
	s.t.Helper()
	require.Eventually(s.t, holds, patience, time.Millisecond, what)
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex // protects following
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var errBroken = errors.New("broken pipe")
