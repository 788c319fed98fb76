// Package enrich wraps log lines into records, one JSON object a line:
//
//	{"raw":<the line>,"host":"<hostname>","processed_at":"2026-11-22T15:43:51Z"}
//
// raw is the line itself where that is JSON, so that collectors see its fields,
// and else a JSON string of it, so that nothing is lost.
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

// A Field is a member that every record ends with.
type Field struct{ Key, Value string }

// A Printer writes the records of lines to w. Line, Piece and Flush are for one
// goroutine, and retain nothing of what they are given; the others are for any.
type Printer struct {
	w    io.Writer
	json validator
	buf  []byte
	err  error // the first that w returned; nothing is written after it

	beforeTime, afterTime []byte // what stands around the time in every record
	second                int64  // since 1970, that end was made for
	end                   []byte // of every record of this second, but for its }

	malformed    atomic.Int64
	writingSince atomic.Int64 // ns since 1970; 0: not in a write
	written      atomic.Int64 // ns spent in writes that have returned
}

// NewPrinter returns a Printer that writes to w, with one Write for most batches,
// records from host that end with fields, in the order given.
func NewPrinter(w io.Writer, host string, fields []Field) *Printer {
	p := &Printer{w: w, afterTime: []byte(`"`)}
	p.beforeTime = append(appendMember(nil, "host", host), `,"processed_at":"`...)
	for _, f := range fields {
		p.afterTime = appendMember(p.afterTime, f.Key, f.Value)
	}
	return p
}

func appendMember(dst []byte, key, value string) []byte {
	dst = append(dst, `,"`...)
	dst = appendString(dst, []byte(key))
	dst = append(dst, `":"`...)
	dst = appendString(dst, []byte(value))
	return append(dst, '"')
}

// Line adds the record of a line. Its error is returned by Flush.
func (p *Printer) Line(line []byte) {
	p.begin()
	if p.json.valid(line) {
		p.chunks(line, appendUTF8)
	} else {
		p.malformed.Add(1)
		p.text(line)
	}
	p.finish("}\n")
}

// Piece adds the record of a part of a line, which is text whatever it holds.
func (p *Printer) Piece(piece []byte, last bool) {
	p.begin()
	p.text(piece)
	if last {
		p.finish("}\n")
	} else {
		p.finish(`,"partial":true}` + "\n")
	}
}

// Flush writes what there is and returns the first error there was.
func (p *Printer) Flush() error {
	p.spill(1)
	return p.err
}

// begin begins a record. All records that are written together get one time.
func (p *Printer) begin() {
	if len(p.buf) == 0 {
		p.stamp(time.Now())
	}
	p.buf = append(p.buf, `{"raw":`...)
}

// stamp sets the time of the records that follow; it is said in whole seconds.
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
	p.chunks(text, appendString)
	p.buf = append(p.buf, '"')
}

// chunks adds text in parts that end between two characters, each through encode.
func (p *Printer) chunks(text []byte, encode func(dst, chunk []byte) []byte) {
	for len(text) > chunkSize {
		n := chunkSize
		for i := n; i > n-utf8.UTFMax; i-- {
			if utf8.RuneStart(text[i]) {
				n = i
				break // where there is none, no character can reach over the edge
			}
		}
		p.buf = encode(p.buf, text[:n])
		text = text[n:]
		p.spill(spillSize)
	}
	p.buf = encode(p.buf, text)
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
