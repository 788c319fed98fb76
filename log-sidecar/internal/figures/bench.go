package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// benchRows are the rows of the table of benchmarks; two units share a cell.
var benchRows = []struct {
	title, benchmark string
	units            []string
}{
	{"backlog, CPU µs/line", "Backlog", []string{"cpu-µs/line"}},
	{"backlog, peak MiB", "Backlog", []string{"peak-MiB"}},
	{"100 lines/s, CPU µs/line", "Live/rate=100", []string{"cpu-µs/line"}},
	{"100 lines/s, latency p50 / p99 ms", "Live/rate=100", []string{"p50-ms", "p99-ms"}},
	{"1,000 lines/s, CPU µs/line", liveBenchmark, []string{"cpu-µs/line"}},
	{"1,000 lines/s, latency p50 / p99 ms", liveBenchmark, []string{"p50-ms", "p99-ms"}},
	{"5,000 lines/s, CPU µs/line", "Live/rate=5000", []string{"cpu-µs/line"}},
	{"5,000 lines/s, latency p50 / p99 ms", "Live/rate=5000", []string{"p50-ms", "p99-ms"}},
	{"20,000 lines/s, CPU µs/line", "Live/rate=20000", []string{"cpu-µs/line"}},
	{"20,000 lines/s, latency p50 / p99 ms", "Live/rate=20000", []string{"p50-ms", "p99-ms"}},
	{"20,000 lines/s, peak MiB", "Live/rate=20000", []string{"peak-MiB"}},
	{"a lone line, latency p50 / p99 ms", "LoneLine", []string{"p50-ms", "p99-ms"}},
	{"stdout blocked, peak MiB", "StdoutBlocked", []string{"peak-MiB"}},
	{"idle, context switches/s", "Idle", []string{"switches/s"}},
	{"idle, CPU µs/s", "Idle", []string{"cpu-µs/s"}},
}

const liveBenchmark = "Live/rate=1000"

func benchTable(r *results) string {
	var programs []string
	for _, program := range r.programs {
		for _, line := range benchRows {
			if r.has(line.benchmark, program, line.units[0]) {
				programs = addNew(programs, program)
			}
		}
	}
	if len(programs) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(r.header("", programs))
	runs := 0
	for _, line := range benchRows {
		if !slices.Contains(r.benchmarks, line.benchmark) {
			continue
		}
		cells := []string{line.title}
		for _, program := range programs {
			var values []string
			for _, unit := range line.units {
				if value, ok := r.median(line.benchmark, program, unit); ok {
					values = append(values, short(value))
					runs = max(runs, len(r.values[key{line.benchmark, program, unit}]))
				}
			}
			if len(values) == 0 {
				values = []string{"–"}
			}
			cells = append(cells, strings.Join(values, " / "))
		}
		b.WriteString(row(cells...))
	}
	fmt.Fprintf(&b, "\n(Medians; runs: %d; CPUs: %s, %s. Each is set to lose as little as it can.)\n", runs, r.cpus, r.said["cpu"])
	return b.String()
}

// short has two decimals for what is small, and one or none for what is not.
func short(value float64) string {
	decimals := 0
	if value < 10 {
		decimals = 2
	} else if value < 100 {
		decimals = 1
	}
	return strconv.FormatFloat(value, 'f', decimals, 64)
}

func benchChart(r *results) string {
	const unit = "cpu-µs/line"
	var programs []string
	for _, program := range r.programs {
		if r.has(liveBenchmark, program, unit) {
			programs = append(programs, program)
		}
	}
	if len(programs) == 0 {
		return ""
	}
	return r.chart("CPU per line at 1,000 lines/s", "µs", programs, func(program string) float64 {
		value, _ := r.median(liveBenchmark, program, unit)
		return value
	})
}
