package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A scenario is what happens to logs. Bytes that nobody can keep are in none of them:
// nothing is written between a copy and the truncation after it, and what is truncated
// or deleted was within reach before.
type scenario struct {
	name string
	play func(*stage)
}

var scenarios = []scenario{
	{"rename under load", func(s *stage) {
		w := s.newWriter()
		for range s.times(20, 5) {
			w.lines(200)
			s.shift()
			w.lines(20) // the writer does not know yet
			w.reopen()
		}
		w.lines(100)
	}},
	{"200 quick renames", func(s *stage) {
		w := s.newWriter()
		for i := range s.times(200, 50) {
			w.burst(10)
			s.rename(fmt.Sprintf("-20261122-%06d", i))
			w.reopen()
		}
		w.burst(10)
	}},
	{"renames while down", func(s *stage) {
		w := s.newWriter()
		w.lines(100)
		w.close()
		s.catchUp()
		s.stop()
		for range 3 {
			w.reopen()
			w.lines(100)
			s.shift()
		}
		w.reopen()
		s.start()
		w.lines(100)
	}},
	{"kill -9 twenty times", func(s *stage) {
		w := s.newWriter()
		for range s.times(20, 5) {
			w.lines(50)
			s.catchUp()
			w.lines(50)
			s.kill()
			s.start()
		}
		w.lines(50)
	}},
	{"copytruncate", func(s *stage) {
		w := s.newWriter()
		for range s.times(10, 3) {
			w.lines(200)
			s.copyTruncate()
		}
		w.lines(50)
	}},
	{"delete and re-create", func(s *stage) {
		w := s.newWriter()
		for range s.times(5, 3) {
			w.lines(50)
			s.catchUp() // who has not opened it by now never can
			w.lines(50)
			s.must(os.Remove(s.log))
			w.lines(20)
			w.reopen()
		}
		w.lines(50)
	}},
	{"truncate and rewrite larger", func(s *stage) {
		w := s.newWriter()
		for i := range s.times(5, 3) {
			w.lines(50)
			s.catchUp()
			s.must(os.Truncate(s.log, 0))
			w.burst(200 * (i + 1))
		}
	}},
	{"workers that keep old files", func(s *stage) {
		workers := []*logWriter{s.newWriter(), s.newWriter(), s.newWriter()}
		inTurn := func() {
			for range s.times(100, 30) {
				for _, w := range workers {
					w.lines(1)
				}
			}
		}
		inTurn()
		for n := range workers {
			s.shift()
			for _, w := range workers[:n+1] {
				w.reopen()
			}
			inTurn()
		}
	}},
	{"names that do not sort in time", func(s *stage) {
		w := s.newWriter()
		for i, day := range []string{"30-09-2026", "01-10-2026", "31-10-2026", "02-11-2026", "01-12-2026"} {
			if i == 3 {
				w.close()
				s.catchUp()
				s.stop()
				w.reopen()
			}
			w.lines(50)
			s.rename("-" + day)
			w.reopen()
		}
		s.start()
		w.lines(50)
	}},
	{"SIGTERM while the writer goes on", func(s *stage) {
		w := s.newWriter()
		w.lines(100)
		s.terminate()
		w.lines(500)
	}},
	{"stdout not read for 10 s", func(s *stage) {
		w := s.newWriter()
		s.reading.Lock()
		for i := range 10 {
			w.burst(2000)
			if i == 5 {
				s.shift()
				w.reopen()
			}
			time.Sleep(time.Duration(s.times(1000, 100)) * time.Millisecond)
		}
		s.reading.Unlock()
		w.lines(50)
	}},
	{"lines in pieces", func(s *stage) {
		w := s.newWriter()
		for range 3 {
			w.lines(10)
			line := w.next("")
			for _, piece := range [][]byte{line[:40], line[40 : len(line)-1]} {
				w.write(piece)
				time.Sleep(time.Duration(s.times(2000, 200)) * time.Millisecond)
			}
			w.write([]byte("\n"))
		}
		w.lines(10)
	}},
	{"a line of 2 MB", func(s *stage) {
		w := s.newWriter()
		w.lines(10)
		w.write(w.next(strings.Repeat("x", 2<<20)))
		w.lines(10)
	}},
}

// The sidecar's own column, with fewer repetitions.
func TestFaultsLoseNoLine(t *testing.T) {
	installed, _ := contenders(t)
	for _, scenario := range scenarios {
		t.Run(scenario.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, installed[0], true)
			require.True(t, s.run(scenario), "prints")
			s.assertKept()
		})
	}
}

// The tally must see what it is there to see.
func TestTallyCounts(t *testing.T) {
	line := func(n int) string {
		return strings.TrimSuffix(fmt.Sprintf(lineFormat, 0, fmt.Sprintf("0/%d", n)), "\n")
	}
	record := func(n int) string { return `{"raw":` + line(n) + `,"host":"h"}` + "\n" }
	for _, c := range []struct {
		name, printed                   string
		killed                          bool
		lost, doubled, disordered, torn int
	}{
		{name: "nothing", printed: record(1) + record(2) + record(3)},
		{name: "many lines in a record", printed: fmt.Sprintf("{%q,%q,%q}\n", line(1), line(2), line(3))},
		{name: "a line that is lost", printed: record(1) + record(3), lost: 1},
		{name: "a line that comes twice", printed: record(1) + record(1) + record(2) + record(3), doubled: 1},
		{name: "a line that comes late", printed: record(2) + record(1) + record(3), disordered: 1},
		{name: "a line without its middle", printed: record(1) + strings.Replace(record(2), "GET", "", 1) + record(3), lost: 1, torn: 1},
		{name: "a line without its end", printed: record(1) + record(2)[:40] + "\n" + record(3), lost: 1, torn: 1},
		{name: "a line without its beginning", printed: record(1) + record(2)[40:] + record(3), lost: 1, torn: 1},
		{name: "a line cut by the end", printed: record(1) + record(2) + record(3)[:40], lost: 1, torn: 1},
		{name: "a line cut by a kill", printed: record(1) + record(2) + record(3)[:40], killed: true, lost: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			tally := newTally()
			for n := 1; n <= 3; n++ {
				tally.expect([]byte(line(n)), sentLine{n: n})
			}
			tally.forgive(c.killed)
			for lines := newLineScanner(strings.NewReader(c.printed)); lines.Scan(); {
				tally.add(lines.Bytes(), time.Now())
			}
			assert.Equal(t, []int{c.lost, c.doubled, c.disordered, c.torn},
				[]int{tally.lost(), tally.doubled, tally.disordered, tally.torn}, "lost, doubled, out of order, torn")
		})
	}
}

// All scenarios on all contenders that are installed. What it prints is the input of
// internal/figures.
func BenchmarkCompare(b *testing.B) {
	installed, missing := contenders(b)
	for _, c := range missing {
		if c.version != "" {
			fmt.Printf("missing-%s: not installed\n", c.name)
		}
	}
	var compared []contender
	for _, c := range installed {
		switch {
		case c.version == "":
		case !newStage(b, c, true).run(scenario{}):
			fmt.Printf("missing-%s: it does not print the first line\n", c.name)
		default:
			compared = append(compared, c)
			fmt.Printf("version-%s: %s\nconfig-%s: %q\n", c.name, c.versionNumber(b), c.name, c.shown())
		}
	}
	for _, scenario := range scenarios {
		b.Run(scenario.name, func(b *testing.B) {
			forEach(b, compared, func(b *testing.B, c contender) {
				for range b.N {
					s := newStage(b, c, false)
					if !s.run(scenario) {
						b.Skip("does not print the first line")
					}
					if c.name == compared[0].name {
						s.assertKept()
					}
					s.report(b)
				}
			})
		})
	}
}

// versionNumber is what the program says of itself; the one under test is a build that
// says nothing.
func (c contender) versionNumber(tb testing.TB) string {
	tb.Helper()
	if c.argv[0] == binary {
		version, err := os.ReadFile("VERSION")
		require.NoError(tb, err)
		return strings.TrimSpace(string(version))
	}
	said, err := exec.Command(c.argv[0], c.version).CombinedOutput()
	require.NoError(tb, err)
	return regexp.MustCompile(`\d+(\.\d+)+`).FindString(string(said))
}

// shown is what the contender is started with.
func (c contender) shown() string {
	command := strings.Join(append(c.env, c.argv...), " ")
	return strings.TrimSpace(strings.ReplaceAll(command, binary, c.name) + "\n" + c.conf)
}

// A stage is where a scenario is played: a log, its writers, and the contender that
// follows it.
type stage struct {
	testing.TB
	contender contender
	short     bool
	log       string
	state     string
	writers   []*logWriter
	process   *process
	read      chan struct{} // closed when the process has ended and its output is read
	stopping  bool          // the process has got SIGTERM
	kills     int
	reading   sync.Mutex // held while nobody reads the process's output
	tally     *tally
}

func newStage(tb testing.TB, c contender, short bool) *stage {
	tb.Helper()
	return &stage{
		TB: tb, contender: c, short: short, state: tb.TempDir(),
		log: filepath.Join(tb.TempDir(), "access.log"), tally: newTally(),
	}
}

// run plays the scenario and waits for what comes of it, if the contender prints at all.
func (s *stage) run(scenario scenario) (works bool) {
	first := s.newWriter()
	first.lines(1)
	first.close()
	s.start()
	if s.await(patience, s.tally.allArrived); !s.tally.allArrived() {
		s.kill()
		return false
	}
	if scenario.play != nil {
		scenario.play(s)
	}
	for _, w := range s.writers {
		w.close()
	}
	s.await(s.quiet(), s.tally.allArrived)
	if !s.short { // who prints lines twice may take a while to find them
		s.await(2*time.Second, func() bool { return false })
	}
	s.stop()
	return true
}

func (s *stage) must(err error) {
	s.Helper()
	require.NoError(s, err)
}

// times is how often something happens, in full and in short.
func (s *stage) times(full, short int) int {
	if s.short {
		return short
	}
	return full
}

// quiet is how long nothing has to come until nothing more is waited for. Where every
// line must come, that says no more than that the test has failed.
func (s *stage) quiet() time.Duration {
	if s.short {
		return patience
	}
	return 5 * time.Second
}

// start starts the contender, again with the state that it has kept.
func (s *stage) start() {
	s.process, s.read, s.stopping = s.contender.start(s, s.log, s.state), make(chan struct{}), false
	go func(p *process, read chan struct{}) {
		defer close(read)
		defer p.stdout.Close()
		for p.lines.Scan() {
			s.reading.Lock()
			s.tally.add(p.lines.Bytes(), time.Now())
			s.reading.Unlock()
		}
	}(s.process, s.read)
}

// kill is kill -9. Half a record that the dead leaves is no torn line: whoever reads
// the output knows where it ended, as the kubelet does.
func (s *stage) kill() {
	s.kills++
	s.tally.forgive(true)
	s.process.end(syscall.SIGKILL, 0)
	<-s.read
	s.tally.forgive(false)
}

// terminate sends SIGTERM.
func (s *stage) terminate() {
	if !s.stopping {
		s.stopping = true
		_ = syscall.Kill(-s.process.cmd.Process.Pid, syscall.SIGTERM)
	}
}

// stop ends the contender, which has time to print what it has got.
func (s *stage) stop() {
	s.terminate()
	s.process.end(0, patience)
	<-s.read
}

// catchUp waits until the newest line has been printed.
func (s *stage) catchUp() { s.await(s.quiet(), s.tally.newestArrived) }

// await waits for condition, or until nothing has come for as long as quiet.
func (s *stage) await(quiet time.Duration, condition func() bool) {
	begin := time.Now()
	for !condition() && min(time.Since(begin), s.tally.silence()) < quiet {
		select {
		case <-s.read:
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// rename renames the log.
func (s *stage) rename(suffix string) { s.must(os.Rename(s.log, s.log+suffix)) }

// shift renames the log and those before it, as logrotate does.
func (s *stage) shift() {
	s.shiftOlder()
	s.rename(".1")
}

func (s *stage) shiftOlder() {
	older, err := filepath.Glob(s.log + ".*")
	s.must(err)
	for n := len(older); n > 0; n-- {
		s.must(os.Rename(fmt.Sprintf("%s.%d", s.log, n), fmt.Sprintf("%s.%d", s.log, n+1)))
	}
}

// copyTruncate is logrotate's copytruncate.
func (s *stage) copyTruncate() {
	s.shiftOlder()
	from, err := os.Open(s.log)
	s.must(err)
	defer from.Close()
	to, err := os.Create(s.log + ".1")
	s.must(err)
	defer to.Close()
	_, err = io.Copy(to, from)
	s.must(err)
	s.must(os.Truncate(s.log, 0))
}

// A logWriter appends numbered lines to the log, one write(2) each, and keeps the file
// open until it is told otherwise.
type logWriter struct {
	stage *stage
	id    int
	n     int // lines so far
	file  *os.File
}

func (s *stage) newWriter() *logWriter {
	w := &logWriter{stage: s, id: len(s.writers)}
	s.writers = append(s.writers, w)
	w.reopen()
	return w
}

// next makes the next line, which the tally expects from now on.
func (w *logWriter) next(padding string) []byte {
	w.n++
	now := time.Now()
	line := fmt.Appendf(nil, lineFormat, now.UnixNano(), fmt.Sprintf("%d/%d%s", w.id, w.n, padding))
	w.stage.tally.expect(line, sentLine{at: now, writer: w.id, n: w.n})
	return line
}

func (w *logWriter) write(p []byte) {
	_, err := w.file.Write(p)
	w.stage.must(err)
}

// lines writes at a rate of 1,000 lines a second.
func (w *logWriter) lines(n int) {
	begin := time.Now()
	for i := range n {
		time.Sleep(time.Until(begin.Add(time.Duration(i+1) * time.Millisecond)))
		w.burst(1)
	}
}

// burst writes as fast as it goes.
func (w *logWriter) burst(n int) {
	for range n {
		w.write(w.next(""))
	}
}

func (w *logWriter) close() {
	_ = w.file.Close() // or it was closed already
}

// reopen opens the file that has the log's name now.
func (w *logWriter) reopen() {
	if w.file != nil {
		w.close()
	}
	var err error
	w.file, err = os.OpenFile(w.stage.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	w.stage.must(err)
}

// A sentLine is a line that was written.
type sentLine struct {
	at        time.Time
	writer, n int
	arrived   bool
}

// A tally compares what arrives with what was written.
type tally struct {
	mu         sync.Mutex // protects following
	sent       map[string]*sentLine
	last       *sentLine   // the newest of them
	newest     map[int]int // the highest number that has arrived, per writer
	arrived    int
	doubled    int // arrived again
	disordered int // arrived after a later line of the same writer
	torn       int // arrived as something that was not written
	slowest    time.Duration
	heard      time.Time // when something arrived last
	forgiving  bool      // whether a line may end anywhere
}

func newTally() *tally {
	return &tally{sent: map[string]*sentLine{}, newest: map[int]int{}, heard: time.Now()}
}

func (t *tally) expect(line []byte, sent sentLine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = &sent
	t.sent[string(bytes.TrimSuffix(line, []byte{'\n'}))] = t.last
}

// add takes what was printed up to the end of a line, or up to the end.
func (t *tally) add(printed []byte, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = now
	parts := bytes.Split(printed, []byte(lineBegin))
	whole := bytes.HasSuffix(printed, []byte(lineEnd))
	if !whole && (len(parts) == 1 || t.forgiving) {
		return
	}
	t.torn += max(0, len(parts)-2) // began, and then began another
	sent := t.sent[lineBegin+string(parts[len(parts)-1])]
	switch {
	case len(parts) == 1 || sent == nil:
		t.torn++
	case sent.arrived:
		t.doubled++
	default:
		sent.arrived = true
		t.arrived++
		t.slowest = max(t.slowest, now.Sub(sent.at))
		if sent.n < t.newest[sent.writer] {
			t.disordered++
		}
		t.newest[sent.writer] = max(sent.n, t.newest[sent.writer])
	}
}

func (t *tally) forgive(forgiving bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgiving = forgiving
}

func (t *tally) lost() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.sent) - t.arrived
}

func (t *tally) allArrived() bool { return t.lost() == 0 }

func (t *tally) newestArrived() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last.arrived
}

func (t *tally) silence() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.heard)
}

// assertKept wants what the sidecar promises: nothing is lost, out of order or torn, and
// nothing comes twice but the batch that a kill has interrupted, of 32 KiB at most.
func (s *stage) assertKept() {
	s.Helper()
	assert.Zero(s, s.tally.lost(), "lost")
	assert.Zero(s, s.tally.disordered, "out of order")
	assert.Zero(s, s.tally.torn, "torn")
	assert.LessOrEqual(s, s.tally.doubled, s.kills*(32<<10)/len(lineFormat), "doubled")
}

func (s *stage) report(b *testing.B) {
	b.ReportMetric(float64(len(s.tally.sent)), "lines")
	b.ReportMetric(float64(s.tally.lost()), "lost")
	b.ReportMetric(float64(s.tally.doubled), "doubled")
	b.ReportMetric(float64(s.tally.disordered), "disordered")
	b.ReportMetric(float64(s.tally.torn), "torn")
	b.ReportMetric(float64(s.tally.slowest.Microseconds())/1e3, "slowest-ms")
}
