package tail

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	seed      = flag.Uint64("seed", 0, "run only this sequence of the model tests")
	sequences = flag.Int("sequences", 120, "how many sequences of the model test are run")
)

// A model plays everything that can happen to a log, at random, and knows every
// line. What it does consists of small actions, one system call or little more
// each, and they come between any two system calls of the tailer, in its sink, and
// while it is down. It is one goroutine: a seed always gives the same sequence.
// Only the clock is not in its hands.
type model struct {
	*site
	w      *writer
	random *rand.Rand
	todo   []func() // what is left of what has been begun
	link   bool     // the log is a symbolic link, which is switched
	links  int
	kills  int
	calm   bool // nothing happens any more
}

// killed is what the tailer panics with when it is killed.
type killed struct{}

func TestModel(t *testing.T) {
	first, n := uint64(1), *sequences
	if *seed != 0 {
		first, n = *seed, 1
	}
	for i := range n {
		seed := first + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newSite(t)
			m := &model{site: s, random: rand.New(rand.NewPCG(seed, 0))}
			if err := m.play(); err != nil {
				t.Fatalf("%v\nrun it again: go test -run 'TestModel$' ./internal/tail -seed %d", err, seed)
			}
		})
	}
}

func (m *model) play() error {
	m.link = m.chance(20)
	if m.link {
		m.newTarget()()
		m.switchLink()
	}
	m.w = newWriter(m.t, m.path)
	step = func() {
		if m.chance(15) {
			m.act()
		}
		m.killAtTimes()
	}
	defer func() { step = func() {} }()
	m.cfg.Sink = modelSink{m}
	for range 25 {
		for range m.random.IntN(5) {
			m.act()
		}
		if m.chance(80) {
			m.tryToLook()
		}
		if m.chance(5) && m.tailer != nil {
			m.kill()
			m.kills++
		}
	}
	m.endLine()
	for len(m.todo) > 0 {
		m.act()
	}
	m.calm = true
	m.w.close()
	m.look()
	return check(m.w.lines, m.sink.printed(), m.kills)
}

func (m *model) chance(percent int) bool { return !m.calm && m.random.IntN(100) < percent }

// tryToLook looks once, and survives being killed.
func (m *model) tryToLook() {
	defer func() {
		switch r := recover(); r {
		case nil:
		case killed{}:
			m.kill()
			m.kills++
		default:
			panic(r)
		}
	}()
	if m.tailer == nil {
		m.start()
	}
	_, err := m.tailer.look()
	require.NoError(m.t, err)
}

func (m *model) killAtTimes() {
	if m.tailer != nil && m.random.IntN(300) == 0 && !m.calm {
		panic(killed{})
	}
}

// A modelSink is stdout: what happens while it blocks happens in Flush.
type modelSink struct{ m *model }

func (s modelSink) Line(line []byte)              { s.m.sink.Line(line) }
func (s modelSink) Piece(piece []byte, last bool) { s.m.sink.Piece(piece, last) }
func (s modelSink) Flush() error {
	if s.m.chance(10) { // killed before the write
		s.m.sink.taken = nil
		panic(killed{})
	}
	if s.m.chance(20) {
		for range s.m.random.IntN(20) {
			s.m.act()
		}
	}
	err := s.m.sink.Flush()
	if s.m.chance(10) { // killed after it, and before the checkpoint is saved
		panic(killed{})
	}
	return err
}

// act does the next thing.
func (m *model) act() {
	if m.calm {
		return
	}
	if len(m.todo) > 0 {
		next := m.todo[0]
		m.todo = m.todo[1:]
		next()
		return
	}
	switch n := m.random.IntN(100); {
	case n < 40:
		m.append()
	case n < 50:
		m.w.piece(fmt.Sprintf("torn-%d-%d ", len(m.w.lines), m.random.IntN(1000)))
	case n < 60:
		m.endLine()
	case n < 75 && m.link:
		m.queue(m.newTarget(), m.switchLink, m.late, m.reopen)
	case n < 75:
		m.rename()
	case n < 80 && !m.link:
		for range 3 {
			m.rename()
		}
	case n < 92 && !m.link:
		m.copyTruncate()
	case n < 97:
		m.delete()
	default:
		m.endLine()
		m.w.some(1)
	}
}

func (m *model) queue(actions ...func()) { m.todo = append(m.todo, actions...) }

func (m *model) append() {
	m.endLine()
	m.w.some(1 + m.random.IntN(10))
	if m.random.IntN(20) == 0 {
		m.w.some(1000) // several reads
	}
}

func (m *model) endLine() {
	if m.w.torn != "" {
		m.w.line(fmt.Sprintf("end-%d", len(m.w.lines)))
	}
}

// late writes to a file that has been rotated already.
func (m *model) late() {
	m.endLine()
	if m.random.IntN(2) == 0 {
		m.w.some(1 + m.random.IntN(10))
	}
}

func (m *model) reopen() {
	m.endLine()
	m.w.open()
}

func (m *model) rename() {
	m.shift()
	m.queue(func() {
		require.NoError(m.t, os.Rename(m.path, m.path+".1"))
	}, m.late, m.reopen)
}

// shift frees .1, one rename at a time.
func (m *model) shift() {
	m.queue(func() {
		last := 0
		for exists(numbered(m.path, last+1)) {
			last++
		}
		var renames []func()
		for ; last > 0; last-- {
			from, to := numbered(m.path, last), numbered(m.path, last+1)
			renames = append(renames, func() { require.NoError(m.t, os.Rename(from, to)) })
		}
		m.todo = append(renames, m.todo...)
	})
}

// copyTruncate copies in two parts, and nothing is written until it has truncated.
func (m *model) copyTruncate() {
	m.shift()
	m.queue(func() {
		m.endLine()
		content, err := os.ReadFile(m.path)
		require.NoError(m.t, err)
		to, err := os.Create(m.path + ".1")
		require.NoError(m.t, err)
		half := m.random.IntN(len(content) + 1)
		write := func(part []byte) func() {
			return func() {
				_, err := to.Write(part)
				require.NoError(m.t, err)
			}
		}
		m.todo = append([]func(){
			write(content[:half]),
			write(content[half:]),
			func() { require.NoError(m.t, os.Truncate(m.path, 0)) },
			func() { require.NoError(m.t, to.Close()) },
		}, m.todo...)
	})
}

func (m *model) newTarget() func() {
	return func() {
		m.links++
		require.NoError(m.t, os.WriteFile(m.target(), nil, 0o644))
	}
}

func (m *model) target() string { return fmt.Sprintf("%s-%08d", m.path, m.links) }

func (m *model) switchLink() {
	require.NoError(m.t, os.Symlink(m.target(), m.dir+"/link"))
	require.NoError(m.t, os.Rename(m.dir+"/link", m.path))
}

// delete deletes what has been printed, all of it; what has not cannot be kept.
// The successor is not written in the same tick of the file system's clock, for
// where the file of the checkpoint is gone, times tell what comes after it.
func (m *model) delete() {
	if m.w.torn != "" || check(m.w.lines, m.sink.printed(), m.kills+1) != nil || len(m.w.lines) == 0 {
		return
	}
	m.afterATick()
	if m.random.IntN(2) == 0 || m.link {
		files, err := scanQuietly(m.path)
		require.NoError(m.t, err)
		for _, f := range files[:len(files)-1] {
			require.NoError(m.t, os.Remove(f.path))
		}
		return
	}
	require.NoError(m.t, os.Remove(m.path))
	m.w.open()
}

func (m *model) afterATick() {
	before := step
	step = func() {}
	defer func() { step = before }()
	afterATick(m.t, m.path)
}

// scanQuietly is scan for the model, which is not to be disturbed by itself.
func scanQuietly(path string) ([]file, error) {
	before := step
	step = func() {}
	defer func() { step = before }()
	return scan(path)
}
