// Command figures makes Markdown of what make bench and make compare print. It reads
// that from stdin, and writes each figure into the Markdown files it is given, between
// the lines
//
//	<!-- figures: NAME -->
//	<!-- end -->
//
// Without a file it prints all figures that it has the numbers for.
package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// run also shows what it reads, on progress: it takes minutes to come.
func run(files []string, stdin io.Reader, stdout, progress io.Writer) error {
	r, err := parse(io.TeeReader(stdin, progress))
	if err != nil {
		return err
	}
	for _, f := range figures {
		if text := f.make(r); len(files) == 0 && text != "" {
			fmt.Fprintln(stdout, text)
		}
	}
	for _, name := range files {
		old, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text, err := rewrite(string(old), r)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // documentation
			return err
		}
	}
	return nil
}

var figures = []struct {
	name string
	make func(*results) string // empty where there are no numbers for it
}{
	{"compare", compareTable},
	{"compare-chart", compareChart},
	{"bench", benchTable},
	{"bench-chart", benchChart},
}

var marked = regexp.MustCompile(`(?s)(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end -->)`)

// rewrite replaces what stands between the markers. A figure without numbers stays.
func rewrite(markdown string, r *results) (string, error) {
	var err error
	if n := strings.Count(markdown, "<!-- figures:"); n != len(marked.FindAllString(markdown, -1)) {
		err = errors.New("a marker has no end, or no name")
	}
	text := marked.ReplaceAllStringFunc(markdown, func(block string) string {
		parts := marked.FindStringSubmatch(block)
		for _, f := range figures {
			if f.name != parts[2] {
				continue
			}
			if text := f.make(r); text != "" {
				return parts[1] + text + parts[3]
			}
			return block
		}
		err = fmt.Errorf("there is no figure %q", parts[2])
		return block
	})
	return text, err
}

// results are the metrics of all benchmarks, in Go's benchmark format, and what is said
// of the programs, as "KEY-PROGRAM: VALUE".
type results struct {
	benchmarks []string // names without by=PROGRAM and the number of CPUs, in their order
	programs   []string // in their order
	values     map[key][]float64
	said       map[string]string
	missing    []string
	cpus       string
}

type key struct{ benchmark, program, unit string }

var benchmarkLine = regexp.MustCompile(`^Benchmark(\S+?)(?:/by=([^\s/]+?))?(?:-(\d+))?\s+\d+\s+(.*)`)

func parse(text io.Reader) (*results, error) {
	r := &results{values: map[key][]float64{}, said: map[string]string{}}
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := benchmarkLine.FindStringSubmatch(lines.Text()); m != nil {
			benchmark := strings.ReplaceAll(m[1], "_", " ")
			r.benchmarks, r.programs, r.cpus = addNew(r.benchmarks, benchmark), addNew(r.programs, m[2]), m[3]
			fields := strings.Fields(m[4])
			for ; len(fields) >= 2; fields = fields[2:] {
				value, err := strconv.ParseFloat(fields[0], 64)
				if err != nil {
					return nil, fmt.Errorf("%q: %w", lines.Text(), err)
				}
				k := key{benchmark, m[2], fields[1]}
				r.values[k] = append(r.values[k], value)
			}
		} else if before, value, ok := strings.Cut(lines.Text(), ": "); ok {
			r.said[before] = strings.TrimSpace(value)
			if program, ok := strings.CutPrefix(before, "missing-"); ok {
				r.missing = addNew(r.missing, program)
			}
		}
	}
	return r, lines.Err()
}

func addNew(all []string, s string) []string {
	if s == "" || slices.Contains(all, s) {
		return all
	}
	return append(all, s)
}

// median is that of all runs.
func (r *results) median(benchmark, program, unit string) (value float64, ok bool) {
	all := slices.Sorted(slices.Values(r.values[key{benchmark, program, unit}]))
	if len(all) == 0 {
		return 0, false
	}
	return all[len(all)/2], true
}

// most is the largest of all runs.
func (r *results) most(benchmark, program, unit string) float64 {
	return slices.Max(append(r.values[key{benchmark, program, unit}], 0))
}

func (r *results) has(benchmark, program, unit string) bool {
	return len(r.values[key{benchmark, program, unit}]) > 0
}

// label is the program's name, and its version where it is known.
func (r *results) label(program string) string {
	name := cmp.Or(map[string]string{"tail": "tail -F", "naive": "naive tailer", "tail+jq": "tail -F piped to jq"}[program], program)
	return strings.TrimSpace(name + " " + r.said["version-"+program])
}

// row makes a row of a table.
func row(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }

// header makes the first two rows of a table with a column for each program.
func (r *results) header(first string, programs []string) string {
	cells, line := []string{first}, "|---|"
	for _, program := range programs {
		cells, line = append(cells, r.label(program)), line+"---|"
	}
	return row(cells...) + line + "\n"
}

// chart makes a bar chart that GitHub draws, with its table.
func (r *results) chart(title, unit string, programs []string, value func(program string) float64) string {
	cells := []string{title + ", " + unit}
	var names, bars []string
	for _, program := range programs {
		bar := strconv.FormatFloat(value(program), 'f', -1, 64)
		names, bars, cells = append(names, strconv.Quote(r.label(program))), append(bars, bar), append(cells, bar)
	}
	return fmt.Sprintf("```mermaid\nxychart-beta\n  title %q\n  x-axis [%s]\n  y-axis %q\n  bar [%s]\n```\n",
		title, strings.Join(names, ", "), unit, strings.Join(bars, ", ")) + r.header("", programs) + row(cells...)
}
