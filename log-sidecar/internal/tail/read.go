package tail

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"
	"unicode/utf8"
)

var newline, carriageReturn = []byte{'\n'}, []byte{'\r'}

// readSize is how much is read, and so printed and checkpointed, at once: some
// 370 access lines. Larger batches cost no less per line, but more memory and more
// lines printed again after a kill.
const readSize = 32 << 10

var (
	// errTruncated says that the open file no longer holds the checkpoint.
	errTruncated = errors.New("file was truncated")
	// errOvertaken says that what comes after the checkpoint is not the open file,
	// of which nothing has been printed yet, but another one.
	errOvertaken = errors.New("another file comes first")
	// errSink wraps what the sink returns: without it there is no going on.
	errSink = errors.New("print")
)

// A reader reads lines from one file after the other. What it knows is the
// checkpoint and nothing else: bytes after it are read again rather than kept, so
// there is no second truth to fall out of step with the file.
//
// Memory is bounded by construction: buf has fingerprintLen and readSize bytes,
// and MaxLineBytes more at the most while a line is longer than that.
type reader struct {
	sink    Sink
	store   *store
	stats   *stats
	log     *slog.Logger
	maxLine int
	buf     []byte

	at    checkpoint // what has been printed; in file, unless fresh
	file  *os.File   // the file being read; nil before the first
	id    fileID     // of file
	fresh bool       // nothing of file has been printed: at is the end of the one before

	// The one before, while file is fresh. It is kept open so that its inode number
	// is not used again, for an empty file has nothing else to be known by.
	before *os.File

	isNext func() (bool, error) // whether file, fresh, still is what comes after at

	unsaved bool // the last save failed

	lines int64 // handed to the sink since the last Flush

	size    int64     // of file when last looked at
	mtime   int64     // likewise, in ns since 1970
	changed time.Time // when file was last seen to change
}

// use goes on with opened, at the checkpoint where that is in it, else at its
// beginning.
func (r *reader) use(opened *os.File, f *file, holder bool) {
	r.release()
	r.file, r.id, r.fresh = opened, f.id, !holder
	r.size, r.mtime, r.changed = -1, 0, time.Time{}
	if holder {
		r.at.id = f.id // a copy has another identity
		r.forget()
	}
	p := r.position()
	r.stats.change(func(s *stats) { s.id, s.offset = p.id, p.offset })
}

func (r *reader) release() {
	if r.file != nil {
		_ = r.file.Close() // read-only: there is nothing to lose
		r.file = nil
	}
}

// leave makes the end of the open file the checkpoint; another file is used next.
func (r *reader) leave() {
	r.at = r.position()
	r.forget()
	r.before, r.file = r.file, nil
}

func (r *reader) forget() {
	if r.before != nil {
		_ = r.before.Close()
		r.before = nil
	}
}

// position is the place in the open file from which on nothing has been printed.
func (r *reader) position() checkpoint {
	if r.file != nil && r.fresh {
		return checkpoint{id: r.id, mtime: r.mtime}
	}
	return r.at
}

// flush returns when what was handed to the sink is printed.
func (r *reader) flush() error {
	if err := r.sink.Flush(); err != nil {
		return fmt.Errorf("%w: %w", errSink, err)
	}
	now := time.Now()
	r.stats.change(func(s *stats) {
		s.status.LastLook = now
		if r.lines > 0 {
			s.status.Lines += r.lines
			s.status.LastLine = now
		}
	})
	r.lines = 0
	return nil
}

// save saves the checkpoint. A failure only means that a restart prints lines
// again, so it is said, once, and no reason to stop.
func (r *reader) save() {
	err := r.store.save(&r.at)
	if err != nil && !r.unsaved {
		r.log.Error("the checkpoint cannot be saved: a restart will print lines again", "error", err.Error())
	}
	r.unsaved = err != nil
}

// fill reads what follows the position into r.buf and returns it, valid until the
// next fill, and whether there may be more. It is sure to be what follows: one
// read takes the remembered bytes before the offset along with the new ones, and
// afterwards the file's beginning and size are looked at, so that a truncation
// before or during the read is noticed, whatever the file's size is by then. Of a
// fresh file nothing is remembered; there the question is whether it still comes
// next, and that too is asked after the read, for a copy is made before a truncation.
func (r *reader) fill() (data []byte, more bool, err error) {
	at := &r.at
	if r.fresh {
		at = &checkpoint{}
	}
	if r.buf == nil {
		r.buf = make([]byte, fingerprintLen+readSize)
	}
	known := at.known()
	step()
	before, err := r.file.Stat() // its mtime is no later than the data's
	if err != nil {
		return nil, false, err
	}
	step()
	n, err := pread(r.file, r.buf, at.offset-int64(known))
	if err != nil {
		return nil, false, err
	}
	if n < known || !bytes.Equal(r.buf[:known], at.tail[:known]) {
		return nil, false, errTruncated
	}
	var head [fingerprintLen]byte
	step()
	if h, err := pread(r.file, head[:known], 0); err != nil || !bytes.Equal(head[:h], at.head[:known]) {
		return nil, false, errors.Join(errTruncated, err)
	}
	step()
	info, err := r.file.Stat()
	if err != nil {
		return nil, false, err
	}
	if info.Size() < at.offset+int64(n-known) {
		return nil, false, errTruncated
	}
	if r.fresh {
		if ok, err := r.isNext(); err != nil || !ok {
			return nil, false, cmp.Or(err, errOvertaken)
		}
	}
	if mtime := before.ModTime(); r.size != before.Size() || r.mtime != mtime.UnixNano() {
		r.size, r.mtime, r.changed = before.Size(), mtime.UnixNano(), time.Now()
		if mtime.Before(r.changed) {
			r.changed = mtime // it had been quiet for a while before we looked
		}
	}
	return r.buf[known:n], n == len(r.buf), nil
}

// read prints every whole line that there is and returns how many bytes that
// was. After each batch has been printed the checkpoint is saved.
func (r *reader) read() (total int64, err error) {
	for {
		data, more, err := r.fill()
		if err != nil {
			return total, err
		}
		split := r.at.split && !r.fresh
		n, split := r.deliver(data, split)
		switch {
		case n > 0:
			if err := r.flush(); err != nil {
				return total, err
			}
			if r.fresh {
				r.at, r.fresh = checkpoint{id: r.id}, false
				r.forget()
			}
			r.at.advance(r.buf, n)
			r.at.mtime, r.at.split = r.mtime, split
			r.save()
			r.stats.change(func(s *stats) {
				s.status.Bytes += int64(n)
				s.offset = r.at.offset
			})
			total += int64(n)
		case more: // a line that is longer than the buffer
			larger := min(4*len(r.buf), fingerprintLen+r.maxLine+readSize)
			r.buf = make([]byte, larger)
		}
		if !more {
			if len(r.buf) > fingerprintLen+readSize && len(data)-n < readSize {
				r.buf = nil // the long line is through: fall back to the small buffer
			}
			return total, nil
		}
	}
}

// deliver hands the whole lines in data to the sink and returns how many bytes
// that was. What comes after the last \n is held back; only of a line longer than
// maxLine are pieces handed on before its end is there, and then split says that
// the next line continues them, as it does for the first one here.
//
// An empty line, a CR before the \n and NULs before a line (where a file was
// truncated under a writer that kept its offset) are dropped.
func (r *reader) deliver(data []byte, split bool) (n int, splitAfter bool) {
	for rest := data; ; {
		if !split {
			rest = bytes.TrimLeft(rest, "\x00")
		}
		line, next, whole := bytes.Cut(rest, newline)
		// Where the \n is still to come, a CR at the end may turn out to belong to it.
		line = bytes.TrimSuffix(line, carriageReturn)
		for len(line) > r.maxLine {
			if !split {
				r.stats.change(func(s *stats) { s.status.SplitLines++ })
			}
			cut := runeBoundary(line, r.maxLine)
			r.sink.Piece(line[:cut], false)
			line, rest, split = line[cut:], rest[cut:], true
		}
		switch {
		case !whole:
			return len(data) - len(rest), split
		case split:
			r.sink.Piece(line, true)
			r.lines++
		case len(line) > 0:
			r.sink.Line(line)
			r.lines++
		}
		rest, split = next, false
	}
}

// unterminated prints what is left behind the last \n, as it is; the checkpoint
// stays before it.
func (r *reader) unterminated() error {
	data, _, err := r.fill()
	if err != nil || len(data) == 0 {
		return err
	}
	if bytes.Contains(data, newline) {
		return errMoving // whole lines have come at the last moment
	}
	line := bytes.TrimLeft(data, "\x00")
	switch {
	case r.at.split && !r.fresh:
		r.sink.Piece(data, true)
	case len(line) > 0:
		r.sink.Line(line)
	default:
		return nil
	}
	r.lines++
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

// pread reads at offset, as io.ReaderAt does, but is content with less than
// len(b): at the end of a file that saves asking a second time.
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
