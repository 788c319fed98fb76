// Package lines takes the lines out of a file, from where that was read to before, and
// hands them to a Sink. It does not know what other files there are, nor when to read.
package lines

import (
	"bytes"
	"unicode/utf8"
)

// A Sink receives lines, in order, from one goroutine. The slices are valid only until
// the call returns. A Sink may block; the file is the buffer then.
type Sink interface {
	// Line receives a line, never empty, without its newline.
	Line(line []byte)
	// Piece receives a part of a line that is longer than the longest allowed.
	Piece(piece []byte, last bool)
	// Flush returns once everything received is printed. What is received between two
	// calls is one batch: after a kill, at most one batch is printed again.
	Flush() error
}

var (
	newline        = []byte{'\n'}
	carriageReturn = []byte{'\r'}
	byteOrderMark  = []byte("\xEF\xBB\xBF")
	nul            = "\x00"
)

// cut hands the complete lines in data to the sink and returns how many bytes they take.
// What follows the last \n is held back, except that a line longer than max bytes is
// handed on in pieces before its end has come. split says that data begins inside such a
// line, splitAfter that what follows the n bytes does.
//
// Empty lines, a CR before the \n, a byte order mark before the first line of the file, and
// NULs before a line (left when a file is truncated under a writer that keeps its offset)
// are dropped. NULs that no line follows are held back: some writers extend their file
// before they write to it.
func (r *Reader) cut(data []byte, split, first bool) (n int, splitAfter bool) {
	for rest := data; ; {
		text := rest
		if !split {
			text = trimStart(rest, first)
		}
		line, next, whole := bytes.Cut(text, newline)
		// Also without a \n: a CR at the end may turn out to be followed by one.
		line = bytes.TrimSuffix(line, carriageReturn)
		for len(line) > r.maxLine {
			if !split {
				r.Printed.SplitLines++
			}
			at := runeBoundary(line, r.maxLine)
			r.sink.Piece(line[:at], false)
			text, line, split = text[at:], line[at:], true
			rest = text
		}
		switch {
		case !whole:
			return len(data) - len(rest), split
		case split:
			r.sink.Piece(line, true)
			r.handed++
		case len(line) > 0:
			r.sink.Line(line)
			r.handed++
		}
		rest, split, first = next, false, false
	}
}

// trimStart drops what may stand before a line.
func trimStart(text []byte, first bool) []byte {
	text = bytes.TrimLeft(text, nul)
	if first {
		text = bytes.TrimPrefix(text, byteOrderMark)
	}
	return text
}

// runeBoundary returns the last index up to limit where b can be cut without splitting a
// UTF-8 sequence.
func runeBoundary(b []byte, limit int) int {
	for cut := limit; cut > limit-utf8.UTFMax && cut > 0; cut-- {
		if utf8.RuneStart(b[cut]) {
			return cut
		}
	}
	return limit
}
