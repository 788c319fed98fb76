package tail

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tests that kill a tailer, or keep it from its stdout, run it as a process:
// this test binary, started again with the log's path in this variable.
const childPath, childState = "TAIL_TEST_PATH", "TAIL_TEST_STATE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := follow(path, os.Getenv(childState)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// follow is the child: it prints the log's lines on stdout, as they are, until
// SIGTERM.
func follow(path, state string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := config(path, state, &stdoutSink{}, os.Stderr)
	cfg.Ended = answer(true, true)
	tailer, err := New(cfg)
	if err != nil {
		return err
	}
	return tailer.Run(ctx, context.Background())
}

// A stdoutSink prints each batch with one write(2), as the real one does.
type stdoutSink struct{ buf []byte }

func (s *stdoutSink) Line(line []byte) { s.buf = append(append(s.buf, line...), '\n') }

func (s *stdoutSink) Piece(piece []byte, _ bool) { s.Line(piece) }

func (s *stdoutSink) Flush() error {
	_, err := os.Stdout.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// A process is a tailer of its own, over all of its lives. What it prints is passed on to
// the site's sink: while that is blocked, stdout is not read.
type process struct {
	*site               // its log keeps stderr
	cmd   *exec.Cmd     // of the present life
	read  chan struct{} // closed when the stdout of this life has been read to its end
}

func newProcess(t testing.TB) *process {
	p := &process{site: newSite(t)}
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), childPath+"="+p.path, childState+"="+p.cfg.StateDir)
	p.cmd.Stderr = p.log
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(p.t, err)
	require.NoError(p.t, p.cmd.Start())
	p.read = make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		in := bufio.NewReaderSize(stdout, 4096)
		for {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return // what a kill has torn is printed again by the next life
			}
			p.sink.Line(line[:len(line)-1])
			_ = p.sink.Flush()
		}
	}(p.read)
}

// kill is kill -9; the lines that were printed before it are kept.
func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		_ = p.wait() // killed, it says
	}
}

// end has the process drain the log and end by itself.
func (p *process) end() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(p.t, p.wait(), p.log.String())
}

func (p *process) wait() error {
	<-p.read // before Wait, which closes the pipe
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

// waitFor waits until the last of these lines has been printed.
func (p *process) waitFor(lines []string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		return slices.Contains(p.sink.printed(), lines[len(lines)-1])
	}, 2*patience, time.Millisecond, "not all is printed: %s", p.log)
}

// at writes lines at this rate, in small steps, until done says so.
func (w *writer) at(perSecond int, done func() bool) {
	began := time.Now()
	for n := 0; !done(); time.Sleep(2 * time.Millisecond) {
		for due := int(time.Since(began).Seconds() * float64(perSecond)); n < due; n++ {
			w.some(1)
		}
	}
}

func TestRotationsUnderLoad(t *testing.T) {
	const lines, each = 100_000, 20_000
	p := newProcess(t)
	w := newWriter(t, p.path)
	p.start()
	rotated := 0
	w.at(25_000, func() bool {
		for w.n/each > rotated {
			rotated++
			w.rotate()
		}
		return w.n >= lines
	})
	for range 200 { // back to back, and so several between two looks
		w.some(50)
		w.rotate()
	}
	w.close()
	p.end()
	p.want(w.lines)
}

func TestKilledAHundredTimesUnderLoad(t *testing.T) {
	const kills = 100
	p := newProcess(t)
	w := newWriter(t, p.path)
	var ended atomic.Bool
	go func() {
		defer ended.Store(true)
		for range kills {
			before := len(p.sink.printed())
			p.start()
			if rand.IntN(4) > 0 { // else it may not even have begun
				for began := time.Now(); len(p.sink.printed()) == before && time.Since(began) < time.Second; {
					time.Sleep(time.Millisecond)
				}
			}
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
			p.kill()
		}
	}()
	worker := newWriter(t, p.path) // it keeps the file that it has for several rotations
	worker.name = "worker"
	rotated := 0
	w.at(3000, func() bool {
		worker.some(1)
		if w.n/300 > rotated {
			if rotated++; rotated%3 == 0 {
				worker.open()
			}
			w.rotate()
		}
		return ended.Load()
	})
	w.close()
	w.open()
	p.start()
	w.some(1)
	p.waitFor(w.lines)
	p.waitFor(worker.lines)
	w.close()
	worker.close()
	p.end()
	require.NoError(t, check(worker.lines, linesOf(worker, p.sink.printed()), kills))
	require.NoError(t, check(w.lines, linesOf(w, p.sink.printed()), kills))
}
