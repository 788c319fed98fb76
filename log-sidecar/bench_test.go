package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The benchmarks run the built sidecar and others on the same work, one after the
// other. An operation is a whole run, which starts and ends a process; what that has
// cost is in the metrics. Times are those of this machine at this moment: compare
// within one run.

var (
	seconds = flag.Int("seconds", 5, "how long the benchmarks keep up each live rate; idle is three times as long")
	pods    = flag.Int("pods", 110, "sidecars of the benchmark of a whole node")
)

// Reading a whole file that is there already.
func BenchmarkBacklog(b *testing.B) {
	const lines = 500_000
	const last = 10_000 // more than pipe and reader hold: cat is still there to be measured
	installed, _ := contenders(b)
	forEach(b, installed, func(b *testing.B, c contender) {
		path := filepath.Join(b.TempDir(), "access.log")
		require.NoError(b, os.WriteFile(path, accessLines(lines), 0o644))
		var cpu time.Duration
		for b.Loop() {
			p := c.start(b, path, b.TempDir())
			p.awaitLines(b, lines-last)
			b.ReportMetric(p.peak(), "peak-MiB")
			p.awaitLines(b, last)
			cpu += p.stop()
		}
		reportCPU(b, cpu, lines)
	})
}

// Lines that come at a steady rate: what each costs, and how long it takes from its
// write to its print.
func BenchmarkLive(b *testing.B) {
	for _, rate := range []int{100, 1_000, 5_000, 20_000} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) {
			forEach(b, followers(b), func(b *testing.B, c contender) {
				// As an app would: each line by itself where the clock is fine enough for it.
				lines, atOnce := rate**seconds, max(1, rate/1_000)
				var cpu time.Duration
				var latencies []float64
				for b.Loop() {
					p, log := c.follow(b)
					before, arrived := p.cpu(), p.latencies(lines)
					begin := time.Now()
					for i := 0; i < lines; i += atOnce {
						time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate))))
						log.lines(b, atOnce)
					}
					latencies = append(latencies, <-arrived...)
					cpu += p.cpu() - before
					b.ReportMetric(p.peak(), "peak-MiB")
					p.stop()
				}
				reportCPU(b, cpu, lines)
				reportLatencies(b, latencies, lines)
			})
		})
	}
}

// A line after each quarter of a second of silence.
func BenchmarkLoneLine(b *testing.B) {
	forEach(b, followers(b), func(b *testing.B, c contender) {
		lines := 4 * *seconds
		var latencies []float64
		for b.Loop() {
			p, log := c.follow(b)
			arrived := p.latencies(lines)
			for range lines {
				time.Sleep(250 * time.Millisecond)
				log.lines(b, 1)
			}
			latencies = append(latencies, <-arrived...)
			p.stop()
		}
		reportLatencies(b, latencies, lines)
	})
}

// An output that nobody reads while 200,000 lines come in, and then all of them.
func BenchmarkStdoutBlocked(b *testing.B) {
	const lines, steps = 200_000, 20
	forEach(b, followers(b), func(b *testing.B, c contender) {
		for b.Loop() {
			p, log := c.follow(b)
			for range steps {
				time.Sleep(100 * time.Millisecond)
				log.lines(b, lines/steps)
			}
			time.Sleep(time.Second) // for whoever reads ahead
			p.awaitLines(b, lines)
			b.ReportMetric(p.peak(), "peak-MiB")
			p.stop()
		}
	})
}

// A file that does not change.
func BenchmarkIdle(b *testing.B) {
	forEach(b, followers(b), func(b *testing.B, c contender) {
		long := 3 * *seconds
		var cpu time.Duration
		var switches int
		for b.Loop() {
			p, _ := c.follow(b)
			cpuBefore, switchesBefore := p.cpu(), p.switches()
			time.Sleep(time.Duration(long) * time.Second)
			cpu += p.cpu() - cpuBefore
			switches += p.switches() - switchesBefore
			p.stop()
		}
		b.ReportMetric(float64(cpu.Microseconds())/float64(b.N*long), "cpu-µs/s")
		b.ReportMetric(float64(switches)/float64(b.N*long), "switches/s")
	})
}

// A node's worth of sidecars, idle and then with ten lines a second for each.
func BenchmarkNode(b *testing.B) {
	for _, perTenth := range []int{0, 1} {
		b.Run(fmt.Sprintf("rate=%d", 10*perTenth), func(b *testing.B) {
			for b.Loop() {
				var all []*process
				var logs []accessLog
				measure := func() (cpu time.Duration, pss float64) {
					for _, p := range all {
						cpu, pss = cpu+p.cpu(), pss+p.pss()
					}
					return cpu, pss
				}
				for range *pods {
					p, log := followers(b)[0].follow(b)
					go func() { _, _ = io.Copy(io.Discard, p.stdout) }()
					all, logs = append(all, p), append(logs, log)
				}
				before, _ := measure()
				const tenths = 100
				for range tenths {
					time.Sleep(100 * time.Millisecond)
					for _, log := range logs {
						log.lines(b, perTenth)
					}
				}
				after, pss := measure()
				b.ReportMetric(pss/float64(*pods), "PSS-MiB/pod")
				b.ReportMetric((after-before).Seconds()/tenths*10*100, "%-of-a-core")
				var stopped sync.WaitGroup
				for _, p := range all {
					stopped.Go(func() { p.stop() })
				}
				stopped.Wait()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// forEach runs a benchmark for each contender. How long a run takes says nothing of
// what it costs, so that is not reported.
func forEach(b *testing.B, contenders []contender, benchmark func(*testing.B, contender)) {
	for _, c := range contenders {
		b.Run("by="+c.name, func(b *testing.B) {
			benchmark(b, c)
			b.ReportMetric(0, "ns/op")
		})
	}
}

func reportCPU(b *testing.B, cpu time.Duration, lines int) {
	b.ReportMetric(float64(cpu.Nanoseconds())/1e3/float64(b.N*lines), "cpu-µs/line")
}

func reportLatencies(b *testing.B, all []float64, lines int) {
	b.Helper()
	require.Len(b, all, b.N*lines, "lines that were printed in time")
	slices.Sort(all)
	b.ReportMetric(all[len(all)/2], "p50-ms")
	b.ReportMetric(all[len(all)*99/100], "p99-ms")
}

func accessLines(n int) []byte {
	var all bytes.Buffer
	for i := range n {
		fmt.Fprintf(&all, lineFormat, i, "api")
	}
	return all.Bytes()
}

// An accessLog is appended to as an app does it: one write(2) for each line.
type accessLog struct{ file *os.File }

func (l accessLog) lines(b *testing.B, n int) {
	b.Helper()
	for range n {
		_, err := fmt.Fprintf(l.file, lineFormat, time.Now().UnixNano(), "api")
		require.NoError(b, err)
	}
}

// latencies reads n records and sends how long each took, in milliseconds.
func (p *process) latencies(n int) <-chan []float64 {
	result := make(chan []float64, 1)
	go func() {
		var all []float64
		for len(all) < n {
			line, ok := p.awaitLine()
			now := time.Now().UnixNano()
			if !ok {
				break
			}
			_, after, _ := bytes.Cut(line, []byte(`"path":"/`))
			if written, err := strconv.ParseInt(string(after[:min(19, len(after))]), 10, 64); err == nil {
				all = append(all, float64(now-written)/1e6)
			}
		}
		result <- all
	}()
	return result
}
