package tail

import (
	"bytes"
	"unicode/utf8"
)

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
// Empty lines, a CR before the \n, a byte order mark at the first byte of the file, and
// NULs before a line (left when a file is truncated under a writer that keeps its offset)
// are dropped. NULs that no line follows are held back: some writers extend their file
// before they write to it.
func (t *Tailer) cut(data []byte, split, first bool) (n int, splitAfter bool) {
	limit := t.cfg.MaxLineBytes
	for rest := data; ; {
		text := rest
		if !split {
			text = bytes.TrimLeft(rest, nul)
			if first {
				text = bytes.TrimPrefix(text, byteOrderMark)
			}
		}
		line, next, whole := bytes.Cut(text, newline)
		// Also without a \n: a CR at the end may turn out to be followed by one.
		line = bytes.TrimSuffix(line, carriageReturn)
		for len(line) > limit {
			if !split {
				t.status.SplitLines++
			}
			at := runeBoundary(line, limit)
			t.cfg.Sink.Piece(line[:at], false)
			text, line, split = text[at:], line[at:], true
			rest = text
		}
		switch {
		case !whole:
			return len(data) - len(rest), split
		case split:
			t.cfg.Sink.Piece(line, true)
			t.lines++
		case len(line) > 0:
			t.cfg.Sink.Line(line)
			t.lines++
		}
		rest, split, first = next, false, false
	}
}

// printUnterminated prints what follows the last \n of f as it is, and returns how many
// bytes that were. The position stays where it is.
func (t *Tailer) printUnterminated(f *file) (int, error) {
	data, more, err := t.fill(f)
	for more && err == nil {
		t.grow()
		data, more, err = t.fill(f)
	}
	if err == nil && bytes.Contains(data, newline) {
		err = errAgain // it was finished at the last moment
	}
	if err != nil {
		return 0, err
	}
	line := data
	if !f.at.Split {
		line = bytes.TrimLeft(line, nul)
		if f.atStart() {
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
	}
	switch {
	case len(line) == 0:
		return 0, nil
	case f.at.Split:
		t.cfg.Sink.Piece(line, true)
	default:
		t.cfg.Sink.Line(line)
	}
	t.lines++
	return len(data), t.flush()
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
