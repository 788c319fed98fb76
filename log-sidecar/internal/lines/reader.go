package lines

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
)

const (
	// BatchSize is how much is read, and so printed and remembered, at once: about 370
	// access lines. Larger batches would not be cheaper per line, but need more memory and
	// repeat more lines after a kill.
	BatchSize = 32 << 10

	// smallBatch is the same where it matters more that a batch is over soon, however slowly
	// the sink takes it.
	smallBatch = 4 << 10
)

var (
	// ErrTruncated is returned for a file that no longer holds its place.
	ErrTruncated = errors.New("the file was truncated")
	// ErrEnded is returned for a rest that has grown beyond a line meanwhile.
	ErrEnded = errors.New("the line has ended")
	// ErrSink wraps an error of the sink.
	ErrSink = errors.New("print")
)

// A Place is where reading a file goes on.
type Place struct {
	position.Position       // everything before it has been printed
	NULs              int64 // as many were read after that, and no line after them
}

// Next is the offset of the next byte to read.
func (p *Place) Next() int64 { return p.Offset + p.NULs }

// Printed counts what the sink has printed.
type Printed struct {
	Lines      int64 // a line in pieces counts once
	Bytes      int64 // of the file
	SplitLines int64
	LastLine   time.Time // when the last line was printed; zero: none yet
}

// A Reader reads one file after the other. It keeps no bytes between two calls of Fill:
// what is not printed is read again, so there is no second copy that could disagree.
type Reader struct {
	Printed Printed

	sink    Sink
	maxLine int
	step    func()
	size    int   // of a batch
	want    int   // how much to read: a batch, or more where a line is longer
	handed  int64 // lines, to the sink since the last Flush

	// of the last Fill
	file   *os.File
	at     *Place
	limit  int64
	buf    []byte // the bytes before the place, and those after it
	before int    // how many of those before
	data   []byte // those after it
	more   bool
}

// NewReader returns a reader that hands lines longer than maxLine bytes to the sink in
// pieces. It calls step before every system call whose result decides something.
func NewReader(sink Sink, maxLine int, step func()) *Reader {
	return &Reader{sink: sink, maxLine: maxLine, step: step, size: BatchSize, want: BatchSize}
}

// Hurry makes the batches small from now on.
func (r *Reader) Hurry() { r.size, r.want, r.buf = smallBatch, smallBatch, nil }

// Fill reads what follows the place in the file up to limit, and returns it, valid until
// the next Fill.
//
// Whether the file still holds its place is checked only after the read, so that a
// truncation before or during the read is noticed whatever the file's size is by then.
func (r *Reader) Fill(file *os.File, at *Place, limit int64) ([]byte, error) {
	if limit < at.Offset {
		return nil, ErrTruncated
	}
	at.NULs = min(at.NULs, limit-at.Offset)
	r.file, r.at, r.limit = file, at, limit
	r.before = int(min(at.Next(), position.Window))
	if len(r.buf) < position.Window+r.want {
		r.buf = make([]byte, position.Window+r.want)
	}
	buf := r.buf[:r.before+int(min(int64(r.want), limit-at.Next()))]
	r.step()
	n, err := pread(file, buf, at.Next()-int64(r.before))
	if err != nil {
		return nil, err
	}
	n = max(n, r.before)
	r.data = buf[r.before:n]
	r.more = n == len(buf) && at.Next()+int64(len(r.data)) < limit
	r.step()
	if blank, err := r.checkNULs(); err != nil {
		return nil, err
	} else if !blank {
		at.NULs = 0 // they were overwritten
		return r.Fill(file, at, limit)
	}
	if held, err := r.isHeld(); err != nil {
		return nil, err
	} else if !held {
		return nil, ErrTruncated
	}
	return r.data, nil
}

// isHeld reports whether the file still holds its position or, where nothing of it is
// printed yet, begins with what was just read.
func (r *Reader) isHeld() (bool, error) {
	if r.at.Offset > 0 {
		return r.at.IsHeldBy(r.file)
	}
	if r.at.NULs > 0 {
		return true, nil // that is for checkNULs to tell
	}
	var buf [position.Window]byte
	begin := r.data[:min(len(r.data), len(buf))]
	n, err := pread(r.file, buf[:len(begin)], 0)
	return bytes.Equal(buf[:n], begin), err
}

// checkNULs reports whether what was passed over is NULs still, at both ends.
func (r *Reader) checkNULs() (bool, error) {
	if r.at.NULs == 0 {
		return true, nil
	}
	var buf [position.Window]byte
	first := buf[:min(r.at.NULs, position.Window)]
	n, err := pread(r.file, first, r.at.Offset)
	last := r.buf[max(0, r.before-len(first)):r.before]
	return n == len(first) && blank(first) && blank(last), err
}

func blank(b []byte) bool { return len(bytes.TrimLeft(b, nul)) == 0 }

// Print prints the complete lines of what Fill has read, and moves the place behind them
// once that is done. It returns how many bytes they took, and whether there is more to
// read before the limit.
func (r *Reader) Print() (n int, more bool, err error) {
	n, split := r.cut(r.data, r.at.Split, r.at.Offset == 0)
	if n > 0 {
		if err := r.flush(); err != nil {
			return 0, false, err
		}
		r.advance(n, split)
	}
	rest := r.data[n:]
	skipped := r.skip(rest)
	switch {
	case n > 0 || skipped > 0:
		r.want = r.size // or later batches would be as large as a long line was
	case r.more:
		r.grow() // a line is longer than the buffer
	}
	if !r.more && len(r.buf) > position.Window+r.size && len(rest) < r.size {
		r.buf = nil // a long line is done
	}
	return n, r.more, nil
}

// grow has more read, for a longer line. What is longer than the longest is cut.
func (r *Reader) grow() { r.want = min(4*r.want, r.maxLine+r.size) }

func (r *Reader) advance(n int, split bool) {
	r.at.Advance(r.at.NULs, r.buf[:r.before+n], n)
	r.at.NULs, r.at.Split = 0, split
	r.Printed.Bytes += int64(n)
}

// skip passes over the NULs that rest, what follows the last line, begins with, and returns
// how many those are. Where they fill the buffer they may be a hole, which can be larger
// than any disk.
func (r *Reader) skip(rest []byte) int {
	if r.at.Split {
		return 0
	}
	n := len(rest) - len(bytes.TrimLeft(rest, nul))
	r.at.NULs += int64(n)
	if n > 0 && n == len(rest) && r.at.Next() < r.limit {
		r.step()
		r.at.NULs = logfiles.NextData(r.file, r.at.Next(), r.limit) - r.at.Offset
	}
	return n
}

// PrintRest prints what follows the place in the file up to limit as it is, without a \n
// at its end, and moves the place behind it.
func (r *Reader) PrintRest(file *os.File, at *Place, limit int64) error {
	data, err := r.Fill(file, at, limit)
	for err == nil && r.more && len(data) <= r.maxLine {
		r.grow()
		data, err = r.Fill(file, at, limit)
	}
	if err != nil {
		return err
	}
	if r.more || bytes.Contains(data, newline) {
		return ErrEnded
	}
	line := data
	if !at.Split {
		line = trimStart(data, at.Offset == 0)
	}
	switch {
	case len(line) == 0:
		return nil
	case at.Split:
		r.sink.Piece(line, true)
	default:
		r.sink.Line(line)
	}
	r.handed++
	if err := r.flush(); err != nil {
		return err
	}
	r.advance(len(data), false)
	return nil
}

// flush returns once everything handed to the sink is printed.
func (r *Reader) flush() error {
	if err := r.sink.Flush(); err != nil {
		return fmt.Errorf("%w: %w", ErrSink, err)
	}
	if r.handed > 0 {
		r.Printed.Lines += r.handed
		r.Printed.LastLine = time.Now()
	}
	r.handed = 0
	return nil
}

// pread reads at offset like File.ReadAt, but may return less than len(b): this saves a
// second read(2) at the end of the file.
func pread(f *os.File, b []byte, offset int64) (int, error) {
	for {
		n, err := syscall.Pread(int(f.Fd()), b, offset)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", f.Name(), err)
		}
		return n, nil
	}
}
