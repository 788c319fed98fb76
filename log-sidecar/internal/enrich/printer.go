package enrich

import (
	"io"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// spillSize bounds the Printer's buffer: it is written out when it holds this
// much, in the middle of a batch or of a long record if need be. A common batch
// (32 KiB of access lines) makes about as much, so that it is one write(2). A
// chunk of a long line takes at most six times its size in the buffer (control
// characters), so 256 KiB is the most there ever is.
const (
	spillSize = 64 << 10
	chunkSize = 32 << 10
)

// A Printer writes the records of lines to w. Line, Piece and Flush are for one
// goroutine; the others are for any.
type Printer struct {
	w       io.Writer
	encoder *Encoder
	buf     []byte
	err     error // the first that w returned; nothing is written after it

	malformed    atomic.Int64
	writingSince atomic.Int64 // ns since 1970; 0: not in a write
	written      atomic.Int64 // ns spent in writes that have returned
}

// NewPrinter returns a Printer that writes to w with one Write for most batches.
func NewPrinter(w io.Writer, encoder *Encoder) *Printer {
	return &Printer{w: w, encoder: encoder}
}

// Line adds the record of a line. Its error is returned by Flush.
func (p *Printer) Line(line []byte) {
	p.stamp()
	var isJSON bool
	if len(line) <= chunkSize {
		p.buf, isJSON = p.encoder.AppendRecord(p.buf, line)
	} else {
		isJSON = valid(line)
		p.buf = append(p.buf, recordStart...)
		if isJSON {
			p.chunks(line, appendUTF8)
		} else {
			p.text(line)
		}
		p.end("")
	}
	if !isJSON {
		p.malformed.Add(1)
	}
	p.spill(spillSize)
}

// Piece adds the record of a part of a line, which is text whatever it holds.
func (p *Printer) Piece(piece []byte, last bool) {
	p.stamp()
	p.buf = append(p.buf, recordStart...)
	p.text(piece)
	if last {
		p.end("")
	} else {
		p.end(partialField)
	}
	p.spill(spillSize)
}

// Flush writes what there is and returns the first error there was.
func (p *Printer) Flush() error {
	p.spill(1)
	return p.err
}

// stamp takes the time once for all records that are written together.
func (p *Printer) stamp() {
	if len(p.buf) == 0 {
		p.encoder.SetTime(time.Now())
	}
}

func (p *Printer) text(text []byte) {
	p.buf = append(p.buf, '"')
	p.chunks(text, appendString)
	p.buf = append(p.buf, '"')
}

func (p *Printer) end(field string) {
	p.buf = append(p.buf, p.encoder.end...)
	p.buf = append(p.buf, field...)
	p.buf = append(p.buf, recordEnd...)
}

// chunks adds text in parts that end between two characters, each through encode.
func (p *Printer) chunks(text []byte, encode func(dst, chunk []byte) []byte) {
	for len(text) > 0 {
		n := min(len(text), chunkSize)
		for i := n; n < len(text) && i > n-utf8.UTFMax; i-- {
			if utf8.RuneStart(text[i]) {
				n = i
				break // where there is none, no character can reach over the edge
			}
		}
		p.buf = encode(p.buf, text[:n])
		text = text[n:]
		p.spill(spillSize)
	}
}

// spill writes the buffer out if it holds at least least bytes.
func (p *Printer) spill(least int) {
	if len(p.buf) < least {
		return
	}
	if p.err == nil {
		began := time.Now()
		p.writingSince.Store(began.UnixNano())
		_, p.err = p.w.Write(p.buf)
		p.writingSince.Store(0)
		p.written.Add(int64(time.Since(began)))
	}
	p.buf = p.buf[:0]
}

// Malformed is how many lines were not JSON.
func (p *Printer) Malformed() int64 { return p.malformed.Load() }

// Blocked is how long the write that is under way has taken; 0 if none is.
func (p *Printer) Blocked() time.Duration {
	since := p.writingSince.Load()
	if since == 0 {
		return 0
	}
	return max(0, time.Since(time.Unix(0, since)))
}

// Writing is the time spent in writes in all.
func (p *Printer) Writing() time.Duration {
	return time.Duration(p.written.Load()) + p.Blocked()
}
