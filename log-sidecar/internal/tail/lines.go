package tail

import (
	"bytes"
	"unicode/utf8"
)

var newline, carriageReturn = []byte{'\n'}, []byte{'\r'}

// deliver hands the complete lines in data to the sink and returns how many bytes it has
// consumed. It holds back what follows the last \n, except that a line longer than
// MaxLineBytes is handed on in pieces before its end has come. split says that data
// begins inside such a line, splitAfter that what follows the n bytes does.
//
// Empty lines, a CR before the \n, and NULs before a line (left when a file is truncated
// under a writer that keeps its offset) are dropped. NULs at the end are held back like a
// line: some writers extend their file before they write to it.
func (r *reader) deliver(data []byte, split bool) (n int, splitAfter bool) {
	for rest := data; ; {
		if !split {
			line := bytes.TrimLeft(rest, "\x00")
			if len(line) == 0 && len(rest) <= r.cfg.MaxLineBytes {
				return len(data) - len(rest), false
			}
			rest = line
		}
		line, next, whole := bytes.Cut(rest, newline)
		// Also without a \n: a CR at the end may turn out to be followed by one.
		line = bytes.TrimSuffix(line, carriageReturn)
		for len(line) > r.cfg.MaxLineBytes {
			if !split {
				r.stats.change(func(s *stats) { s.status.SplitLines++ })
			}
			cut := runeBoundary(line, r.cfg.MaxLineBytes)
			r.cfg.Sink.Piece(line[:cut], false)
			line, rest, split = line[cut:], rest[cut:], true
		}
		switch {
		case !whole:
			return len(data) - len(rest), split
		case split:
			r.cfg.Sink.Piece(line, true)
			r.lines++
		case len(line) > 0:
			r.cfg.Sink.Line(line)
			r.lines++
		}
		rest, split = next, false
	}
}

// printUnterminated prints what follows the last \n of the open file, without moving the
// checkpoint.
func (r *reader) printUnterminated() error {
	if r.file == nil || r.ended {
		return nil
	}
	data, _, err := r.fill()
	if err != nil || len(data) == 0 {
		return err
	}
	if bytes.Contains(data, newline) {
		return errMoving // complete lines have come at the last moment: read them first
	}
	line := bytes.TrimLeft(data, "\x00")
	switch {
	case r.at.Split:
		r.cfg.Sink.Piece(data, true)
	case len(line) > 0:
		r.cfg.Sink.Line(line)
	default:
		return nil
	}
	r.lines++
	r.ended = true
	return r.flush()
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
