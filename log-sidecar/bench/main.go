// Command bench runs the built log-sidecar and others on the same work, one after
// the other, and prints what each costs as Markdown tables. Times are those of
// this machine at this moment: compare within a table, not between runs.
//
//	make bench
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

var (
	sidecar = flag.String("sidecar", "../bin/log-sidecar", "the binary to measure")
	lines   = flag.Int("lines", 500_000, "lines of the backlog")
	seconds = flag.Int("seconds", 10, "how long each live rate is kept up; idle is three times as long")
	rounds  = flag.Int("rounds", 3, "runs of the backlog, of which the median counts")
	nodes   = flag.Int("pods", 110, "sidecars of the whole node; 0 leaves that table out")
	only    = flag.String("only", "", "measure contenders whose name contains this")
	naive   = flag.String("naive", "", "be the naive tailer of this file (used by the benchmark itself)")
)

var rates = []int{100, 1_000, 5_000, 20_000} // lines/s

func main() {
	flag.Parse()
	if *naive != "" {
		naiveTail(*naive)
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	everyone, err := contenders()
	if err != nil {
		return err
	}
	everyone = slices.DeleteFunc(everyone, func(c contender) bool { return !strings.Contains(c.name, *only) })
	fmt.Printf("%s, %s/%s, %d CPUs, %s\n\n", cpuModel(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())

	t := newTable(everyone)
	b := bench{dir: dir, t: t}
	for _, c := range everyone {
		t.try(c, "backlog", func() error { return b.backlog(c) })
	}
	followers := slices.DeleteFunc(slices.Clone(everyone), func(c contender) bool { return !c.live })
	for _, rate := range rates {
		for _, c := range followers {
			t.try(c, fmt.Sprintf("live, %d lines/s", rate), func() error { return b.live(c, rate) })
		}
	}
	for _, c := range followers {
		t.try(c, "a lone line", func() error { return b.lone(c) })
		t.try(c, "stdout blocked", func() error { return b.blocked(c) })
		t.try(c, "idle", func() error { return b.idle(c) })
	}
	t.print()
	if *nodes == 0 {
		return nil
	}
	fmt.Printf("\n%d log-sidecars side by side:\n\n", *nodes)
	return b.node(everyone[0])
}

// A bench runs contenders in directories of their own below dir.
type bench struct {
	dir string
	n   int // directories so far
	t   *table
}

// fresh returns the path of a log in a new directory, which a contender may use
// for its own files as well.
func (b *bench) fresh() (string, error) {
	b.n++
	dir := filepath.Join(b.dir, fmt.Sprint(b.n))
	return filepath.Join(dir, "access.log"), os.MkdirAll(filepath.Join(dir, "state"), 0o755)
}

// backlog has the contender read a whole file: the median of some rounds.
func (b *bench) backlog(c contender) error {
	path, err := b.fresh()
	if err != nil {
		return err
	}
	if err := writeLines(path, *lines); err != nil {
		return err
	}
	var costs, peaks []float64
	for range *rounds {
		if err := os.RemoveAll(filepath.Join(filepath.Dir(path), "state")); err != nil {
			return err
		}
		if err := os.Mkdir(filepath.Join(filepath.Dir(path), "state"), 0o755); err != nil {
			return err
		}
		p, err := c.start(path)
		if err != nil {
			return err
		}
		got, err := countLines(p.stdout, *lines)
		peak := p.peak()
		cpu := p.stop()
		if err != nil || got < *lines {
			return fmt.Errorf("%d of %d lines: %w", got, *lines, err)
		}
		costs = append(costs, float64(cpu.Nanoseconds())/1e3/float64(got))
		peaks = append(peaks, peak)
	}
	b.t.set(c, "backlog, CPU µs/line", fmt.Sprintf("%.2f", median(costs)))
	b.t.set(c, "backlog, peak MiB", fmt.Sprintf("%.1f", median(peaks)))
	return nil
}

// live writes lines at a steady rate, and takes the CPU and the time from the
// write to the print of each.
func (b *bench) live(c contender, rate int) error {
	p, w, err := b.startLive(c)
	if err != nil {
		return err
	}
	defer p.stop()
	before := p.cpu()
	// As an app would: each line by itself where the clock is fine enough for it.
	n := rate * *seconds
	per := max(1, rate/1_000)
	latencies := latenciesOf(p.stdout, n)
	begin := time.Now()
	for i := 0; i < n; i += per {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		for range per {
			if err := w.line(); err != nil {
				return err
			}
		}
	}
	all := <-latencies
	cpu := p.cpu() - before
	if len(all) < n {
		return fmt.Errorf("%d of %d lines came", len(all), n)
	}
	b.t.set(c, fmt.Sprintf("%d lines/s, CPU µs/line", rate), fmt.Sprintf("%.2f", float64(cpu.Nanoseconds())/1e3/float64(n)))
	b.t.set(c, fmt.Sprintf("%d lines/s, latency p50 / p99 ms", rate), percentiles(all))
	if rate == rates[len(rates)-1] {
		b.t.set(c, "live, peak MiB", fmt.Sprintf("%.1f", p.peak()))
	}
	return nil
}

// lone writes a line after each quarter of a second of silence.
func (b *bench) lone(c contender) error {
	p, w, err := b.startLive(c)
	if err != nil {
		return err
	}
	defer p.stop()
	n := 10 * *seconds
	latencies := latenciesOf(p.stdout, n)
	for range n {
		time.Sleep(250 * time.Millisecond)
		if err := w.line(); err != nil {
			return err
		}
	}
	b.t.set(c, "a lone line, latency p50 / p99 ms", percentiles(<-latencies))
	return nil
}

// idle leaves the contender alone with a file that does not change.
func (b *bench) idle(c contender) error {
	p, _, err := b.startLive(c)
	if err != nil {
		return err
	}
	defer p.stop()
	cpu, switches := p.cpu(), p.switches()
	long := 3 * *seconds
	time.Sleep(time.Duration(long) * time.Second)
	b.t.set(c, "idle, context switches/s", fmt.Sprintf("%.1f", float64(p.switches()-switches)/float64(long)))
	b.t.set(c, fmt.Sprintf("idle, CPU ms in %d s", long), fmt.Sprintf("%.1f", (p.cpu()-cpu).Seconds()*1e3))
	return nil
}

// blocked leaves the contender's output unread while 200,000 lines come in, and
// then reads them all.
func (b *bench) blocked(c contender) error {
	p, w, err := b.startLive(c)
	if err != nil {
		return err
	}
	defer p.stop()
	const n = 200_000
	for i := range n {
		if i%10_000 == 0 {
			time.Sleep(100 * time.Millisecond)
		}
		if err := w.line(); err != nil {
			return err
		}
	}
	time.Sleep(time.Second) // for whoever reads ahead
	got, err := countLines(p.stdout, n)
	if err != nil || got < n {
		return fmt.Errorf("%d of %d lines came: %w", got, n, err)
	}
	b.t.set(c, "stdout blocked, peak MiB", fmt.Sprintf("%.1f", p.peak()))
	return nil
}

// node starts a node's worth of sidecars, idle and then with ten lines a second
// for each.
func (b *bench) node(c contender) error {
	var all []*process
	var writers []*writer
	for range *nodes {
		p, w, err := b.startLive(c)
		if err != nil {
			return err
		}
		defer p.stop()
		all, writers = append(all, p), append(writers, w)
		go func() { _, _ = io.Copy(io.Discard, p.stdout) }()
	}
	measure := func() (cpu time.Duration, pss float64) {
		for _, p := range all {
			cpu += p.cpu()
			pss += p.pss()
		}
		return cpu, pss
	}
	fmt.Printf("| | total PSS MiB | PSS of each MiB | CPU of all, %% of one core |\n|---|---|---|---|\n")
	for _, load := range []struct {
		name  string
		lines int // a second, each
	}{{"idle", 0}, {"10 lines/s each", 10}} {
		before, _ := measure()
		const tenths = 100
		for range tenths {
			time.Sleep(100 * time.Millisecond)
			for _, w := range writers {
				for range load.lines / 10 {
					if err := w.line(); err != nil {
						return err
					}
				}
			}
		}
		after, pss := measure()
		fmt.Printf("| %s | %.0f | %.2f | %.1f |\n", load.name, pss, pss/float64(len(all)), (after-before).Seconds()*10)
	}
	return nil
}

// naiveTail is the tailer that one writes first: it polls, and asks
// encoding/json.
func naiveTail(path string) {
	f, err := os.Open(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	host, _ := os.Hostname()
	var rest []byte
	chunk := make([]byte, 64<<10)
	for {
		n, _ := f.Read(chunk)
		if n == 0 {
			time.Sleep(500 * time.Millisecond)
			continue
		}
		rest = append(rest, chunk[:n]...)
		for {
			line, after, ok := bytes.Cut(rest, []byte{'\n'})
			if !ok {
				break
			}
			record := map[string]any{"host": host, "processed_at": time.Now().UTC().Format(time.RFC3339), "raw": string(line)}
			if json.Valid(line) {
				record["raw"] = json.RawMessage(line)
			}
			out, _ := json.Marshal(record)
			if _, err := os.Stdout.Write(append(out, '\n')); err != nil {
				os.Exit(1)
			}
			rest = after
		}
	}
}
