package tail

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/lines"
)

// patience is how long a test waits for what must come. It is never waited out.
const patience = 20 * time.Second

// A sink keeps what it is given, in place of stdout. A piece is kept with a mark,
// "+" where the line goes on and "." where it ends.
type sink struct {
	taken   []string    // since the last Flush
	gate    sync.Mutex  // Flush waits while somebody else holds it
	waiting atomic.Bool // Flush waits
	broken  atomic.Bool // Flush fails

	mu    sync.Mutex // protects following
	lines []string   // printed
}

func (s *sink) Line(line []byte) { s.taken = append(s.taken, string(line)) }

func (s *sink) Piece(piece []byte, last bool) {
	mark := "+"
	if last {
		mark = "."
	}
	s.taken = append(s.taken, string(piece)+mark)
}

func (s *sink) Flush() error {
	if !s.gate.TryLock() {
		s.waiting.Store(true)
		s.gate.Lock()
		s.waiting.Store(false)
	}
	s.gate.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines, s.taken = append(s.lines, s.taken...), nil
	if s.broken.Load() {
		return errBroken
	}
	return nil
}

func (s *sink) printed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
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
	s := &site{t: t, dir: filepath.Join(t.TempDir(), "log"), sink: &sink{}, log: &syncBuffer{}, hook: func() {}}
	s.path = filepath.Join(s.dir, "access.log")
	require.NoError(t, os.Mkdir(s.dir, 0o755))
	s.cfg = config(s.path, t.TempDir(), s.sink, s.log)
	t.Cleanup(s.kill)
	return s
}

func config(path, stateDir string, sink lines.Sink, log io.Writer) Config {
	return Config{
		Path:         path,
		StateDir:     stateDir,
		MaxLineBytes: 1 << 20,
		PollInterval: 20 * time.Millisecond,
		Sink:         sink,
		Log:          slog.New(slog.NewTextHandler(log, nil)),
	}
}

// newLog returns a site and the writer of its log, with so many lines that are printed.
func newLog(t testing.TB, n int) (*site, *writer) {
	s := newSite(t)
	w := newWriter(t, s.path)
	if n > 0 {
		w.some(n)
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

// block keeps the sink from printing until unblock is called.
func (s *site) block() (unblock func()) {
	s.sink.gate.Lock()
	unblock = sync.OnceFunc(s.sink.gate.Unlock)
	s.t.Cleanup(unblock) // before kill, which waits for the tailer
	return unblock
}

// prints looks, and wants all that w has written to be printed, and nothing more.
func (s *site) prints(w *writer) {
	s.t.Helper()
	s.look()
	s.want(w.lines)
}

// want asserts that just these lines have been printed, each once and in order. It shows
// only where the difference begins.
func (s *site) want(lines []string) {
	s.t.Helper()
	got, same := s.sink.printed(), 0
	for same < min(len(lines), len(got)) && lines[same] == got[same] {
		same++
	}
	if same < max(len(lines), len(got)) {
		first := func(lines []string) []string { return lines[same:min(same+1, len(lines))] }
		require.Failf(s.t, "other lines", "after %d: want %.200q of %d, got %.200q of %d", same, first(lines), len(lines), first(got), len(got))
	}
}

// wantSoon waits for these lines to be printed, and no others.
func (s *site) wantSoon(lines []string) {
	s.t.Helper()
	for began := time.Now(); len(s.sink.printed()) < len(lines) && time.Since(began) < patience; {
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
