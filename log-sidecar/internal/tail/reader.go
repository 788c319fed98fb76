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

// readSize is how much is read, and so printed and checkpointed, at once: some
// 370 access lines. Larger batches cost no less per line, but more memory and more
// lines printed again after a kill.
const readSize = 32 << 10

var (
	// errTruncated says that the open file no longer holds the checkpoint.
	errTruncated = errors.New("file was truncated")
	// errOvertaken says that the open file, of which nothing has been printed yet, is
	// no longer what comes next.
	errOvertaken = errors.New("another file comes first")
	// errSink wraps what the sink returns: without it there is no going on.
	errSink = errors.New("print")
)

// A place is where reading has come to.
type place struct {
	file  *os.File   // nil before the first
	at    checkpoint // in file: everything before it has been printed
	ended bool       // so has an unterminated line behind it
}

// A reader reads lines from one file after the other. What it knows is its place
// and nothing else: bytes after the checkpoint are read again rather than kept, so
// there is no second truth to fall out of step with the file.
//
// Memory is bounded by construction: buf has fingerprintLen and readSize bytes,
// and MaxLineBytes more at the most while a line is longer than that.
type reader struct {
	cfg   *Config
	store *store
	stats *stats
	buf   []byte

	place

	// Where it was before file, until something of file is printed; then nil. Until
	// then another file may turn out to come first, unless file was settled. The one
	// before stays open, so that its inode number is not used again: an empty file has
	// nothing else to be known by.
	before  *place
	settled bool

	unsaved bool // the last save failed

	lines   int64 // handed to the sink since the last Flush
	printed int64 // bytes, since the start

	size    int64     // of file when last looked at
	mtime   int64     // likewise, in ns since 1970
	changed time.Time // when file was last seen to change
}

// resume goes on at the checkpoint, in f, which holds it.
func (r *reader) resume(f *file) error {
	opened, err := open(f)
	if err != nil {
		return err
	}
	r.file, r.at.ID = opened, f.id // a copy has another identity
	r.moved()
	return nil
}

// next goes on at the beginning of f, which comes after what has been printed.
func (r *reader) next(f *file) error {
	opened, err := open(f)
	if err != nil {
		return err
	}
	if err := r.unterminated(); err != nil {
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

// settle says that there is no way back to where it was before.
func (r *reader) settle() {
	if r.before != nil && r.before.file != nil {
		_ = r.before.file.Close() // read-only: there is nothing to lose
	}
	r.before = nil
}

// back closes the open file and returns to where it was before, where there is
// still a way; else to the checkpoint, with no file open.
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

// flush returns when what was handed to the sink is printed.
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

// save saves the checkpoint. A failure only means that a restart prints lines
// again, so it is said, once, and no reason to stop.
func (r *reader) save() {
	err := r.store.save(&r.at)
	if err != nil && !r.unsaved {
		r.cfg.Log.Error("the checkpoint cannot be saved: a restart will print lines again", "error", err.Error())
	}
	r.unsaved = err != nil
}

// fill reads what follows the checkpoint into r.buf and returns it, valid until the
// next fill, and whether there may be more. It is sure to be what follows: only
// after the read is the file asked whether it still holds the checkpoint, so a
// truncation before or during the read is noticed, whatever the file's size is by
// then. Of a file that nothing has been printed of there is no fingerprint; there
// the question is whether it still comes next, and that too is asked after the read,
// for a copy is made before a truncation.
func (r *reader) fill() (data []byte, more bool, err error) {
	if r.buf == nil {
		r.buf = make([]byte, fingerprintLen+readSize)
	}
	known := r.at.known()
	step()
	before, err := r.file.Stat() // its mtime is no later than the data's
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
			r.changed = mtime // it had been quiet for a while before we looked
		}
	}
	return r.buf[known:n], n == len(r.buf), nil
}

// comesNext reports whether the open file, where nothing of it has been printed
// yet, is still what comes after the place before. It may have been written, copied
// and truncated since it was opened, and then the copy comes first. A file that is
// not there any more has been deleted, and no other comes before it.
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

// read prints every whole line that there is. After each batch has been printed
// the checkpoint is saved.
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
		case more: // a line that is longer than the buffer
			larger := min(4*len(r.buf), fingerprintLen+r.cfg.MaxLineBytes+readSize)
			r.buf = make([]byte, larger)
		}
		if !more {
			if len(r.buf) > fingerprintLen+readSize && len(data)-n < readSize {
				r.buf = nil // the long line is through: fall back to the small buffer
			}
			return nil
		}
	}
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
