package tail

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The model test again, with a real process that is really killed, a real pipe
// that is not read at times, and the real clock. So a seed gives the same actions,
// but not the same moments. One sequence takes as long as 20 of the other model.
func TestProcessModel(t *testing.T) {
	forEachSeed(t, max(1, *sequences/20), func(t *testing.T, seed uint64) error {
		return playProcess(newProcess(t), rand.New(rand.NewPCG(seed, 1)))
	})
}

func playProcess(p *process, random *rand.Rand) error {
	w := newWriter(p.t, p.path)
	worker := newWriter(p.t, p.path) // it keeps the file that it has for as long as it likes
	worker.name = "worker"
	kills, unblock := 0, func() {}
	caughtUp := func() {
		w.endLine()
		w.some(1)
		unblock()
		if p.cmd == nil {
			p.start()
		}
		p.waitFor(w.lines)
	}
	rename := func() {
		shift(p.t, p.path)
		require.NoError(p.t, os.Rename(p.path, p.path+".1"))
		w.endLine()
		w.some(random.IntN(5)) // late
		w.open()
	}
	p.start()
	for range 30 {
		switch n := random.IntN(100); {
		case n < 30:
			w.endLine()
			w.some(1 + random.IntN(400))
		case n < 35:
			w.endLine()
			worker.some(1 + random.IntN(20))
			if random.IntN(3) == 0 {
				worker.open()
			}
		case n < 45:
			w.piece(fmt.Sprintf("torn-%d ", random.IntN(1000)))
		case n < 60:
			rename()
		case n < 65:
			for range 5 {
				rename()
				w.some(10)
			}
		case n < 75:
			w.endLine()
			w.some(3) // fewer bytes could be the same by chance
			if random.IntN(2) == 0 {
				caughtUp()
			}
			w.copyTruncate()
		case n < 80:
			caughtUp()
			worker.close() // a kill loses what is written to a file without a name
			afterATick(p.t, p.path)
			require.NoError(p.t, os.Remove(p.path))
			w.open()
			worker.open()
		case n < 88:
			if p.cmd == nil {
				p.start()
				break
			}
			unblock() // its reader is to come to the end
			p.kill()
			kills++
		case n < 95:
			unblock()
			if random.IntN(2) > 0 {
				unblock = p.block()
			}
		default:
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
		}
	}
	w.endLine()
	worker.some(1)
	caughtUp() // though the worker has its file open still
	w.close()
	worker.close()
	p.end()
	for _, w := range []*writer{w, worker} {
		if err := check(w.lines, linesOf(w, p.sink.printed()), kills); err != nil {
			return fmt.Errorf("writer %q: %w", w.name, err)
		}
	}
	return nil
}
