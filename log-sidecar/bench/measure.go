package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A writer appends access lines of 88 bytes and a newline, as an app does: one
// write(2) for each. The path carries the time, so that a reader can tell how
// long the line took.
type writer struct{ file *os.File }

const lineFormat = `{"timestamp":"2026-11-22T15:43:51Z","method":"GET","path":"/%019d/api","status":200}` + "\n"

func (w *writer) line() error {
	_, err := fmt.Fprintf(w.file, lineFormat, time.Now().UnixNano())
	return err
}

func writeLines(path string, n int) error {
	var all bytes.Buffer
	for i := range n {
		fmt.Fprintf(&all, lineFormat, i)
	}
	return os.WriteFile(path, all.Bytes(), 0o644)
}

// startLive starts the contender on a new log with one line, which it has printed
// when this returns.
func (b *bench) startLive(c contender) (*process, *writer, error) {
	path, err := b.fresh()
	if err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, nil, err
	}
	w := &writer{file}
	if err := w.line(); err != nil {
		return nil, nil, err
	}
	p, err := c.start(path)
	if err != nil {
		return nil, nil, err
	}
	if _, err := countLines(p.stdout, 1); err != nil {
		p.stop()
		return nil, nil, fmt.Errorf("the first record: %w", err)
	}
	return p, w, nil
}

// latenciesOf reads n records and sends how long each took, in milliseconds.
func latenciesOf(r *os.File, n int) <-chan []float64 {
	result := make(chan []float64, 1)
	go func() {
		var all []float64
		lines := bufio.NewReaderSize(r, 256<<10)
		for len(all) < n {
			_ = r.SetReadDeadline(time.Now().Add(patience))
			line, err := lines.ReadBytes('\n')
			now := time.Now().UnixNano()
			if err != nil {
				break
			}
			_, after, _ := bytes.Cut(line, []byte(`:"/`))
			if len(after) < 19 {
				continue
			}
			written, err := strconv.ParseInt(string(after[:19]), 10, 64)
			if err == nil {
				all = append(all, float64(now-written)/1e6)
			}
		}
		result <- all
	}()
	return result
}

func percentiles(all []float64) string {
	slices.Sort(all)
	if len(all) == 0 {
		return "none"
	}
	return fmt.Sprintf("%.1f / %.1f", all[len(all)/2], all[len(all)*99/100])
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// A table has a row for each figure and a column for each contender.
type table struct {
	columns []contender
	rows    []string
	cells   map[string]string // of "row\x00contender"
}

func newTable(columns []contender) *table {
	return &table{columns: columns, cells: map[string]string{}}
}

func (t *table) set(c contender, row, value string) {
	if !slices.Contains(t.rows, row) {
		t.rows = append(t.rows, row)
	}
	t.cells[row+"\x00"+c.name] = value
}

// try says what is being measured, and why there is no figure where there is none.
func (t *table) try(c contender, what string, measure func() error) {
	fmt.Fprintf(os.Stderr, "%s: %s\n", c.name, what)
	if err := measure(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s: %v\n", c.name, what, err)
	}
}

func (t *table) print() {
	fmt.Print("|")
	for _, c := range t.columns {
		fmt.Printf(" | %s", c.name)
	}
	fmt.Printf(" |\n|---%s|\n", strings.Repeat("|---", len(t.columns)))
	for _, row := range t.rows {
		fmt.Printf("| %s", row)
		for _, c := range t.columns {
			cell := t.cells[row+"\x00"+c.name]
			if cell == "" {
				cell = "–"
			}
			fmt.Printf(" | %s", cell)
		}
		fmt.Println(" |")
	}
}
