package tail

import (
	"bytes"
	"unicode/utf8"
)

var newline, carriageReturn = []byte{'\n'}, []byte{'\r'}

// deliver hands the whole lines in data to the sink and returns how many bytes
// that was. What comes after the last \n is held back; only of a line longer than
// MaxLineBytes are pieces handed on before its end is there, and then split says that
// the next line continues them, as it does for the first one here.
//
// An empty line, a CR before the \n and NULs before a line (where a file was
// truncated under a writer that kept its offset) are dropped. NULs at the end are
// held back like a line: some make their file larger before they write to it.
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
		// Where the \n is still to come, a CR at the end may turn out to belong to it.
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

// unterminated prints what is left behind the last \n of the open file, as it is;
// the checkpoint stays before it.
func (r *reader) unterminated() error {
	if r.file == nil || r.ended {
		return nil
	}
	data, _, err := r.fill()
	if err != nil || len(data) == 0 {
		return err
	}
	if bytes.Contains(data, newline) {
		return errMoving // whole lines have come at the last moment
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

// runeBoundary is the last place at or before limit where b can be cut without
// cutting a UTF-8 sequence in two.
func runeBoundary(b []byte, limit int) int {
	for cut := limit; cut > limit-utf8.UTFMax && cut > 0; cut-- {
		if utf8.RuneStart(b[cut]) {
			return cut
		}
	}
	return limit
}
