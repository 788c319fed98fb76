package tail

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
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
	todo   []func()  // what is left of what has been begun
	link   bool      // the log is a symbolic link, which is switched
	dated  bool      // rotated names have no order
	others []*writer // processes that write to the files they have opened
	made   int       // copies and odd names so far
	links  int
	kills  int
	calm   bool // nothing happens any more
}

// killed is what the tailer panics with when it is killed.
type killed struct{}

// isKilled reports whether the tailer is killed while it looks.
func isKilled(look func()) (is bool) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case killed{}:
			is = true
		default:
			panic(r)
		}
	}()
	look()
	return false
}

func TestModel(t *testing.T) {
	forEachSeed(t, *sequences, func(t *testing.T, seed uint64) error {
		m := &model{site: newSite(t), random: rand.New(rand.NewPCG(seed, 0))}
		return m.play()
	})
}

// forEachSeed plays n sequences, or the only one that the command line asks for.
func forEachSeed(t *testing.T, n int, play func(t *testing.T, seed uint64) error) {
	t.Helper()
	first := uint64(1)
	if *seed != 0 {
		first, n = *seed, 1
	}
	for seed := first; seed < first+uint64(n); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			again := fmt.Sprintf("run it again: go test -run '%s$' ./internal/tail -seed %d", strings.Split(t.Name(), "/")[0], seed)
			require.NoError(t, play(t, seed), again)
		})
	}
}

func (m *model) play() error {
	m.link = m.chance(20)
	if m.link {
		m.newTarget()()
		m.switchLink()
	}
	m.dated = m.chance(30)
	m.w = newWriter(m.t, m.path)
	m.hook = func() {
		if m.chance(15) {
			m.act()
		}
		m.killAtTimes()
	}
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
	for _, w := range append(m.others, m.w) { // though the others have their files open still
		if err := check(w.lines, linesOf(w, m.sink.printed()), m.kills); err != nil {
			return fmt.Errorf("writer %q: %w", w.name, err)
		}
	}
	return nil
}

// linesOf returns those of the lines that w wrote.
func linesOf(w *writer, lines []string) (own []string) {
	known := make(map[string]bool, len(w.lines))
	for _, line := range w.lines {
		known[line] = true
	}
	for _, line := range lines {
		if known[line] || w.name == "" && !strings.Contains(line, "worker") {
			own = append(own, line)
		}
	}
	return own
}

func (m *model) chance(percent int) bool { return !m.calm && m.random.IntN(100) < percent }

// tryToLook looks once, and survives being killed.
func (m *model) tryToLook() {
	if isKilled(func() {
		if m.tailer == nil {
			m.start()
		}
		m.tailer.stale = m.tailer.stale || m.chance(50) // an event, or none
		m.say("look")
		_, err := m.tailer.look()
		m.say("looked")
		require.NoError(m.t, err)
	}) {
		m.say("KILLED")
		m.kill()
		m.kills++
	}
}

func (m *model) killAtTimes() {
	if m.tailer != nil && m.random.IntN(300) == 0 && !m.calm {
		panic(killed{})
	}
}

// A modelSink is stdout: what happens while it blocks happens in Flush.
type modelSink struct{ m *model }

func (s modelSink) Line(line []byte)              { s.m.say("   print %.14s", line); s.m.sink.Line(line) }
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
	defer m.sayFiles()
	if len(m.todo) > 0 {
		next := m.todo[0]
		m.todo = m.todo[1:]
		next()
		return
	}
	switch n := m.random.IntN(100); {
	case n < 28:
		m.append()
	case n < 36:
		m.work()
	case n < 38 && !m.link:
		m.backup()
	case n < 40 && !m.link:
		m.replace()
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

// say tells what happens where a single sequence is run.
func (m *model) say(format string, args ...any) {
	if *seed != 0 {
		fmt.Printf(format+"\n", args...)
	}
}

func (m *model) sayFiles() {
	if *seed == 0 {
		return
	}
	text := fmt.Sprintf("%d lines", len(m.w.lines))
	for _, f := range logfiles.New(m.path).List(1).Files {
		text += fmt.Sprintf(" %s:%d:%d", f.Name, f.ID.Ino, f.Size)
	}
	m.say("%s", text)
}

func (m *model) queue(actions ...func()) { m.todo = append(m.todo, actions...) }

func (m *model) append() {
	m.endLine()
	m.w.some(1 + m.random.IntN(10))
	if m.random.IntN(20) == 0 {
		m.w.some(1000) // several reads
	}
}

func (m *model) endLine() { m.w.endLine() }

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
	if m.dated {
		m.queue(func() {
			m.afterATick() // else nothing tells which was first
			require.NoError(m.t, os.Rename(m.path, m.oddName()))
		}, m.late, m.reopen)
		return
	}
	m.shift()
	m.queue(func() {
		require.NoError(m.t, os.Rename(m.path, m.path+".1"))
	}, m.late, m.reopen)
}

func (m *model) oddName() string {
	m.made++
	return fmt.Sprintf("%s-%08x-%d", m.path, m.random.Uint32(), m.made)
}

// work has another process write to the file that it has open, whatever that has become,
// or open the log anew.
func (m *model) work() {
	m.endLine()
	if len(m.others) < 3 && m.random.IntN(4) == 0 {
		w := newWriter(m.t, m.path)
		w.name = fmt.Sprintf("worker%d", len(m.others))
		m.others = append(m.others, w)
	}
	if len(m.others) == 0 {
		return
	}
	w := m.others[m.random.IntN(len(m.others))]
	if m.random.IntN(4) == 0 {
		w.open()
	}
	w.some(1 + m.random.IntN(5))
}

// backup copies the log, or a rotated file, as somebody may who is about to edit it.
func (m *model) backup() {
	from := m.path
	if paths := siblings(m.t, m.path); len(paths) > 0 && m.random.IntN(3) == 0 {
		from = paths[m.random.IntN(len(paths))]
	}
	m.endLine()
	if !exists(from) || size(m.t, from) < 2*position.Proof {
		return // so few bytes could be the same by chance
	}
	to := m.oddName()
	afterATick(m.t, from) // else nothing tells which was made first
	copyFile(m.t, from, to)
	if m.random.IntN(2) == 0 { // cp -p
		times := time.Unix(0, look(m.t, from).Modified)
		require.NoError(m.t, os.Chtimes(to, times, times))
	}
}

// replace puts a copy in place of the log, as rsync and editors do. Who has the old file
// open writes into a file without a name, which a kill would lose: so nobody has.
func (m *model) replace() {
	if len(m.others) > 0 || !exists(m.path) || size(m.t, m.path) < 500 {
		return
	}
	m.endLine()
	copyFile(m.t, m.path, m.dir+"/.tmp")
	require.NoError(m.t, os.Rename(m.dir+"/.tmp", m.path))
	m.w.open()
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
	if m.dated {
		return // the copy's name would say nothing
	}
	m.queue(func() {
		m.endLine()
		content, err := os.ReadFile(m.path)
		require.NoError(m.t, err)
		m.afterATick() // else nothing tells which was made first
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
	if len(m.others) > 0 || m.w.torn != "" || check(m.w.lines, m.sink.printed(), m.kills+1) != nil || len(m.w.lines) == 0 {
		return
	}
	m.afterATick()
	if m.random.IntN(2) == 0 || m.link {
		for _, path := range siblings(m.t, m.path) {
			require.NoError(m.t, os.Remove(path))
		}
		return
	}
	require.NoError(m.t, os.Remove(m.path))
	m.w.open()
}

func (m *model) afterATick() { afterATick(m.t, m.path) }

// siblings returns the paths of the rotated files.
func siblings(t testing.TB, path string) (paths []string) {
	t.Helper()
	for _, f := range logfiles.New(path).List(1).Files {
		if !f.Live {
			paths = append(paths, f.Path)
		}
	}
	return paths
}
