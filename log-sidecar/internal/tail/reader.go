package tail

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// readSize is how much is read, and so printed and checkpointed, at once: about 370
// access lines. Larger batches would not be cheaper per line, but need more memory and
// repeat more lines after a kill.
const readSize = 32 << 10

var (
	// errTruncated: the open file no longer holds the checkpoint.
	errTruncated = errors.New("file was truncated")
	// errOvertaken: another file must be printed before the open one, of which nothing
	// has been printed yet.
	errOvertaken = errors.New("another file comes first")
	// errSink wraps an error of the sink, which ends Run.
	errSink = errors.New("print")
)

// A place is a position in the log.
type place struct {
	file  *os.File   // nil: none is open
	at    checkpoint // everything before it has been printed
	ended bool       // the unterminated line after it has been printed too
}

// A reader reads lines from one file after the other. It keeps only its place: bytes
// after the checkpoint are read again rather than kept, so there is no second copy that
// could disagree with the file.
//
// Memory is bounded: buf has fingerprintLen + readSize bytes, and at most MaxLineBytes
// more while it holds a longer line.
type reader struct {
	cfg   *Config
	store *store
	stats *stats
	buf   []byte

	place

	// The place before file, until something of file is printed; then nil. Until then
	// another file may turn out to come first, unless file is settled. The file before
	// stays open so that its inode number is not reused: an empty file has no content to
	// be recognized by.
	before  *place
	settled bool

	unsaved bool // the last save failed

	lines   int64 // handed to the sink since the last Flush
	printed int64 // bytes printed since the start

	size    int64     // of file at the last fill; -1 before the first
	mtime   int64     // of file at the last fill, Unix time in ns
	changed time.Time // when file was last seen to change
}

// resume continues from the checkpoint in f, which holds it.
func (r *reader) resume(f *file) error {
	opened, err := open(f)
	if err != nil {
		return err
	}
	r.file, r.at.ID = opened, f.id // f may be a copy, with an identity of its own
	r.moved()
	return nil
}

// next continues at the beginning of f, which comes after everything printed so far.
func (r *reader) next(f *file) error {
	opened, err := open(f)
	if err != nil {
		return err
	}
	if err := r.printUnterminated(); err != nil {
		return errors.Join(err, opened.Close())
	}
	if r.file != nil {
		r.stats.change(func(s *stats) { s.status.Rotations++ })
	}
	r.settle()
	before := r.place
	r.before, r.place = &before, place{file: opened, at: checkpoint{ID: f.id}}
	r.settled = f.settled
	r.moved()
	return nil
}

// settle forgets the place before: from now on there is no way back to it.
func (r *reader) settle() {
	if r.before != nil && r.before.file != nil {
		_ = r.before.file.Close() // opened read-only: an error loses nothing
	}
	r.before = nil
}

// back closes the open file and returns to the place before, if it is still known;
// otherwise it stays at the checkpoint with no file open.
func (r *reader) back() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
	if r.before != nil {
		r.place, r.before = *r.before, nil
	}
	r.moved()
}

// moved makes the stats follow a change of place.
func (r *reader) moved() {
	r.size, r.mtime, r.changed = -1, 0, time.Time{}
	r.stats.change(func(s *stats) {
		s.file, s.id, s.offset = r.file, r.at.ID, r.at.Offset
		s.status.LastLook = time.Now()
		if r.file != nil {
			s.status.File, s.status.Error = string(atEnd), ""
		}
	})
}

// flush returns once everything handed to the sink is printed.
func (r *reader) flush() error {
	if err := r.cfg.Sink.Flush(); err != nil {
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

// save saves the checkpoint. A failure only means that lines are printed again after a
// restart, so it is logged, once, and reading continues.
func (r *reader) save() {
	err := r.store.save(&r.at)
	if err != nil && !r.unsaved {
		r.cfg.Log.Error("the checkpoint cannot be saved: lines will be printed again after a restart", "error", err.Error())
	}
	r.unsaved = err != nil
}

// fill reads what follows the checkpoint and returns it, valid until the next fill, and
// whether there may be more.
//
// Whether the file still holds the checkpoint is checked only after the read, so that a
// truncation before or during the read is noticed whatever the file's size is by then. A
// file of which nothing has been printed has no fingerprint yet; for it, the check is
// whether it still comes next. That, too, is checked after the read, because copytruncate
// copies before it truncates.
func (r *reader) fill() (data []byte, more bool, err error) {
	if r.buf == nil {
		r.buf = make([]byte, fingerprintLen+readSize)
	}
	known := r.at.known()
	step()
	before, err := r.file.Stat() // before the read: the mtime must not be later than the data
	if err != nil {
		return nil, false, err
	}
	step()
	n, err := pread(r.file, r.buf, r.at.Offset-int64(known))
	if err != nil {
		return nil, false, err
	}
	if ok, err := r.at.isIn(r.file); err != nil || !ok {
		return nil, false, cmp.Or(err, errTruncated)
	}
	step()
	info, err := r.file.Stat()
	if err != nil {
		return nil, false, err
	}
	if n < known || info.Size() < r.at.Offset+int64(n-known) {
		return nil, false, errTruncated
	}
	if r.before != nil {
		if ok, err := r.comesNext(); err != nil || !ok {
			return nil, false, cmp.Or(err, errOvertaken)
		}
		r.at.MTime = before.ModTime().UnixNano()
	}
	if mtime := before.ModTime(); r.size != before.Size() || r.mtime != mtime.UnixNano() {
		r.size, r.mtime, r.changed = before.Size(), mtime.UnixNano(), time.Now()
		if mtime.Before(r.changed) {
			r.changed = mtime // it was quiet for a while before this look
		}
	}
	return r.buf[known:n], n == len(r.buf), nil
}

// comesNext reports whether the open file, of which nothing has been printed yet, still
// comes right after the place before. If it was written to, copied and truncated since it
// was opened, the copy comes first. If it is no longer listed, it was deleted, and no
// other file comes first.
func (r *reader) comesNext() (bool, error) {
	if r.settled {
		return true, nil
	}
	files, err := list(r.cfg.Path)
	if err != nil {
		return false, err
	}
	_, after, err := locate(files, &r.before.at)
	return slices.IndexFunc(after, func(f file) bool { return f.id == r.at.ID }) <= 0, err
}

// read prints every complete line up to the end of the file, and saves the checkpoint
// after each batch.
func (r *reader) read() error {
	for {
		data, more, err := r.fill()
		if err != nil {
			return err
		}
		n, split := r.deliver(data, r.at.Split)
		switch {
		case n > 0:
			if err := r.flush(); err != nil {
				return err
			}
			r.settle()
			r.at.advance(r.buf, n)
			r.ended = false
			r.at.MTime, r.at.Split = r.mtime, split
			r.save()
			r.printed += int64(n)
			r.stats.change(func(s *stats) { s.status.Bytes, s.offset = r.printed, r.at.Offset })
		case more: // a line longer than the buffer
			larger := min(4*len(r.buf), fingerprintLen+r.cfg.MaxLineBytes+readSize)
			r.buf = make([]byte, larger)
		}
		if !more {
			if len(r.buf) > fingerprintLen+readSize && len(data)-n < readSize {
				r.buf = nil // the long line is done: return to the small buffer
			}
			return nil
		}
	}
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
