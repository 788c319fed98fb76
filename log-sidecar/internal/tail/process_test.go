package tail

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

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
	w.close()
	p.end()
	wantLines(t, w.lines, p.printed())
}

func TestTwoHundredRotationsBackToBack(t *testing.T) {
	p := newProcess(t)
	w := newWriter(t, p.path)
	p.start()
	for range 200 {
		w.some(50)
		w.rotate()
	}
	w.some(50)
	w.close()
	p.end()
	wantLines(t, w.lines, p.printed())
}

func TestKilledThenRotatedThreeTimesThenStarted(t *testing.T) {
	p := newProcess(t)
	w := newWriter(t, p.path)
	p.start()
	w.some(1000)
	p.waitFor(w.lines)
	w.some(1000)
	p.kill()
	for range 3 {
		w.some(5000)
		w.rotate()
	}
	p.start()
	w.some(10)
	w.close()
	p.waitFor(w.lines)
	p.end()
	require.NoError(t, check(w.lines, p.printed(), 1))
}

func TestKilledAHundredTimesUnderLoad(t *testing.T) {
	const kills = 100
	p := newProcess(t)
	w := newWriter(t, p.path)
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		for range kills {
			before := p.count()
			p.start()
			if rand.IntN(4) > 0 { // else it may not even have begun
				for began := time.Now(); p.count() == before && time.Since(began) < time.Second; {
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
		select {
		case <-killed:
			return true
		default:
			return false
		}
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
	require.NoError(t, check(worker.lines, linesOf(worker, p.printed()), kills))
	require.NoError(t, check(w.lines, linesOf(w, p.printed()), kills))
}

func TestABlockedPipeCostsNoMemory(t *testing.T) {
	p := newProcess(t)
	w := newWriter(t, p.path)
	p.start()
	w.some(20_000)
	p.waitFor(w.lines)
	before := p.status("VmHWM")
	if before == 0 {
		t.Skip("there is no /proc/PID/status here")
	}
	p.stopped.Lock()
	const lines = 200_000
	for range lines / 1000 {
		w.some(1000)
	}
	require.Eventually(t, func() bool { // all that fits into the pipe has been printed
		return p.writing()
	}, patience, time.Millisecond)
	blocked := p.status("VmHWM")
	p.stopped.Unlock()
	w.close()
	p.waitFor(w.lines)
	after := p.status("VmHWM")
	p.end()
	wantLines(t, w.lines, p.printed())
	// 200,000 lines are 10 MB. What there is more is Go's collector at work.
	require.Less(t, blocked-before, 4<<10, "KiB more while it is blocked")
	require.Less(t, after-before, 6<<10, "KiB more in the end")
}

// writing reports whether the process waits in a write to the pipe.
func (p *process) writing() bool {
	dir := fmt.Sprintf("/proc/%d/task", p.cmd.Process.Pid)
	tasks, err := os.ReadDir(dir)
	require.NoError(p.t, err)
	for _, task := range tasks {
		where, err := os.ReadFile(dir + "/" + task.Name() + "/syscall")
		if err == nil && len(where) > 1 && string(where[:2]) == "1 " {
			return true
		}
	}
	return false
}

func TestAClosedPipeEndsTheProcessWithAnError(t *testing.T) {
	p := newProcess(t)
	w := newWriter(t, p.path)
	r, stdout, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPath+"="+p.path, childState+"="+p.state)
	cmd.Stdout, cmd.Stderr = stdout, p.stderr
	require.NoError(t, cmd.Start())
	require.NoError(t, stdout.Close())
	require.NoError(t, r.Close())
	w.some(1)
	err = cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, p.stderr.String(), "broken pipe")
}
