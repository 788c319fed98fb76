// Package record wraps log lines into records, one JSON object a line:
//
//	{"raw":<the line>,"host":"<hostname>","processed_at":"2026-11-22T15:43:51Z"}
//
// raw is the line itself if it is JSON, so that collectors see its fields, and
// otherwise the line as a JSON string, so that nothing is lost.
package record

import (
	"io"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// spillSize bounds the Printer's buffer: once it holds this much it is written out, even
// in the middle of a batch or of a long record. The records of a common batch (32 KiB of
// access lines) fit, so that it takes one write(2). A chunk of a long line takes at most
// six times its size in the buffer (control characters), so the maximum is 256 KiB.
const (
	spillSize = 64 << 10
	chunkSize = 32 << 10
)

// A Field is a member added at the end of every record.
type Field struct{ Key, Value string }

// A Printer writes lines to w as records. Line, Piece and Flush must be called from one
// goroutine and do not retain their arguments; the other methods may be called from any.
type Printer struct {
	w   io.Writer
	buf []byte
	err error // the first from w; nothing is written after it

	beforeTime, afterTime []byte // around the time, the same in every record
	second                int64  // Unix time that end was made for
	end                   []byte // of every record of that second, without the }

	made         time.Time // durations are counted from here: the wall clock may be set meanwhile
	malformed    atomic.Int64
	writingSince atomic.Int64 // ns after made; less than 0: not in a write
	written      atomic.Int64 // ns spent in completed writes
}

// NewPrinter returns a Printer that writes to w, usually with one Write per batch. Every
// record names host and ends with fields, in the order given.
func NewPrinter(w io.Writer, host string, fields []Field) *Printer {
	p := &Printer{w: w, afterTime: []byte(`"`), made: time.Now()}
	p.writingSince.Store(-1)
	p.beforeTime = append(appendMember(nil, "host", host), `,"processed_at":"`...)
	for _, f := range fields {
		p.afterTime = appendMember(p.afterTime, f.Key, f.Value)
	}
	return p
}

func appendMember(dst []byte, key, value string) []byte {
	dst = append(dst, `,"`...)
	dst = appendText(dst, []byte(key))
	dst = append(dst, `":"`...)
	dst = appendText(dst, []byte(value))
	return append(dst, '"')
}

// Line adds the record of a line. Its error is returned by Flush.
func (p *Printer) Line(line []byte) {
	p.begin()
	if isJSON(line) {
		p.chunks(line, appendJSON)
	} else {
		p.malformed.Add(1)
		p.text(line)
	}
	p.finish("}\n")
}

// Piece adds the record of a part of a line; its raw is always a string.
func (p *Printer) Piece(piece []byte, last bool) {
	p.begin()
	p.text(piece)
	if last {
		p.finish("}\n")
	} else {
		p.finish(`,"partial":true}` + "\n")
	}
}

// Flush writes what is buffered and returns the first error of any write.
func (p *Printer) Flush() error {
	p.spill(1)
	return p.err
}

// begin starts a record. All records written together get the same time.
func (p *Printer) begin() {
	if len(p.buf) == 0 {
		p.stamp(time.Now())
	}
	p.buf = append(p.buf, `{"raw":`...)
}

// stamp sets the time of the records that follow, in whole seconds.
func (p *Printer) stamp(now time.Time) {
	if now.Unix() == p.second {
		return
	}
	p.second = now.Unix()
	p.end = append(p.end[:0], p.beforeTime...)
	p.end = now.UTC().AppendFormat(p.end, time.RFC3339)
	p.end = append(p.end, p.afterTime...)
}

func (p *Printer) finish(last string) {
	p.buf = append(p.buf, p.end...)
	p.buf = append(p.buf, last...)
	p.spill(spillSize)
}

func (p *Printer) text(text []byte) {
	p.buf = append(p.buf, '"')
	p.chunks(text, appendText)
	p.buf = append(p.buf, '"')
}

// chunks adds text, encoded chunk by chunk so that it can spill between two of them.
// A chunk ends at a UTF-8 boundary.
func (p *Printer) chunks(text []byte, encode func(dst, chunk []byte) []byte) {
	for len(text) > chunkSize {
		n := chunkSize
		for i := n; i > n-utf8.UTFMax; i-- {
			if utf8.RuneStart(text[i]) {
				n = i
				break // without a rune start there is no valid character to split
			}
		}
		p.buf = encode(p.buf, text[:n])
		text = text[n:]
		p.spill(spillSize)
	}
	p.buf = encode(p.buf, text)
}

// spill writes the buffer out if it holds least bytes or more.
func (p *Printer) spill(least int) {
	if len(p.buf) < least {
		return
	}
	if p.err == nil {
		began := time.Since(p.made)
		p.writingSince.Store(int64(began))
		_, p.err = p.w.Write(p.buf)
		p.writingSince.Store(-1)
		p.written.Add(int64(time.Since(p.made) - began))
	}
	p.buf = p.buf[:0]
}

// Malformed returns how many lines were not JSON.
func (p *Printer) Malformed() int64 { return p.malformed.Load() }

// Blocked returns how long the write in progress has taken so far; 0 if there is none.
func (p *Printer) Blocked() time.Duration {
	since := p.writingSince.Load()
	if since < 0 {
		return 0
	}
	return time.Since(p.made) - time.Duration(since)
}

// Writing returns the total time spent in writes.
func (p *Printer) Writing() time.Duration {
	return time.Duration(p.written.Load()) + p.Blocked()
}
