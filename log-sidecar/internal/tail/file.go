package tail

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
)

const (
	// readSize is how much is read, and so printed and remembered, at once: about 370
	// access lines. Larger batches would not be cheaper per line, but need more memory and
	// repeat more lines after a kill.
	readSize = 32 << 10

	// drainSize is the same during the drain, which can be cut short only between two
	// batches, however slowly they are taken.
	drainSize = 4 << 10
)

// A file is one file of the log, and how far it has been printed. It keeps no bytes: what
// is not printed yet is read again, so there is no second copy that could disagree.
type file struct {
	logfiles.File // as last seen

	at    position.Position // everything before it has been printed
	nuls  int64             // as many NULs after at were read, and no line after them
	limit int64             // where this look ends; less than 0: it does not look at f
	end   int64             // where f ended at most, while it held its position

	open *os.File       // nil: at rest, because everything was printed and nobody can write
	rest *logfiles.File // as it was when that was found; nil: never

	listed  bool      // it has a name of the log
	changed time.Time // when it was last seen to change
	asked   time.Time // when it was last found to be open for writing
	held    time.Time // since when it has been found so, though it is not live
	twin    *file     // what is not printed of it is in this one, too, and is left to that
	ignored bool      // compressed
	trouble error     // why it cannot be read
}

// start is where reading goes on.
func (f *file) start() int64 { return f.at.Offset + f.nuls }

// atStart reports whether nothing of f has been printed or passed over.
func (f *file) atStart() bool { return f.start() == 0 }

// unread is how many bytes are known to be unprinted.
func (f *file) unread() int64 {
	if f.ignored || f.twin != nil || f.rest != nil && f.rest.Same(&f.File) {
		return 0
	}
	return max(0, f.Size-f.at.Offset)
}

// printed is how far f is printed, with what needs no printing.
func (f *file) printed() int64 { return f.Size - f.unread() }

// see takes over what was found out about the file.
func (f *file) see(now *logfiles.File) {
	if !f.Same(now) || f.changed.IsZero() {
		f.changed = time.Now()
		if at := time.Unix(0, now.Modified); at.Before(f.changed) {
			f.changed = at // it was quiet for a while before this look
		}
	}
	f.File = *now
}

// close puts f to rest.
func (f *file) close() {
	if f.open != nil {
		_ = f.open.Close() // opened read-only: an error loses nothing
		f.open = nil
	}
	f.held, f.asked = time.Time{}, time.Time{}
}

var (
	// errTruncated: the file no longer holds its position.
	errTruncated = errors.New("the file was truncated")
	// errAgain: something has changed meanwhile, look again.
	errAgain = errors.New("look again")
	// errMoving: files are being renamed, look again soon.
	errMoving = errors.New("files are being renamed")
	// errSink wraps an error of the sink, which ends Run.
	errSink = errors.New("print")
	// errAborted is returned for a drain that was cut short.
	errAborted = errors.New("drain was cut short")
)

// read prints the complete lines of f up to its limit, and saves its position after each
// batch.
func (t *Tailer) read(f *file) error {
	for {
		data, more, err := t.fill(f)
		if err != nil {
			return err
		}
		if f.atStart() && len(data) > 0 {
			if logfiles.IsCompressed(data) {
				f.ignored = true
				return nil
			}
			if f.Live {
				if err := t.mayBegin(f); err != nil {
					return err
				}
			}
		}
		n, split := t.cut(data, f.at.Split, f.atStart())
		if n > 0 {
			if err := t.flush(); err != nil {
				return err
			}
			f.at.ID, f.at.Split, f.at.Done = f.ID, split, false
			f.at.Advance(f.nuls, t.buf[:t.before+n], n)
			t.status.Bytes += int64(n)
			t.status.LastLook = time.Now()
			f.nuls, f.twin = 0, nil
			t.save(&f.at)
		}
		skipped := t.skip(f, data[n:])
		t.publish()
		if n == 0 && !skipped && more {
			t.grow() // a line is longer than the buffer
		}
		if !more {
			t.shrink(len(data) - n)
			return nil
		}
		if t.aborted() {
			return errAborted
		}
	}
}

// mayBegin returns an error if a file may have to be read before live, of which nothing
// has been printed. If live was truncated meanwhile, nothing in it tells; but then a copy of
// it was made, or completed, since the files were listed.
func (t *Tailer) mayBegin(live *file) error {
	listing := t.log.List(readings)
	if !listing.Stable && t.waitForRotation() {
		return errMoving
	}
	for i := range listing.Files {
		found := &listing.Files[i]
		at := slices.IndexFunc(t.files, func(f *file) bool { return f.ID == found.ID })
		if at < 0 || madeBeside(found, &live.File) && found.Size > max(t.files[at].Size, t.files[at].limit) {
			return errAgain
		}
	}
	return nil
}

// skip passes over the NULs that rest, what follows the last line, begins with. Where they
// fill the buffer they may be a hole, which can be larger than any disk. It reports
// whether there were any.
func (t *Tailer) skip(f *file, rest []byte) bool {
	if f.at.Split {
		return false
	}
	n := slices.IndexFunc(rest, func(b byte) bool { return b != 0 })
	if n < 0 {
		n = len(rest)
	}
	f.nuls += int64(n)
	if n > 0 && n == len(rest) && f.start() < f.limit {
		t.log.Step()
		f.nuls = logfiles.NextData(f.open, f.start(), f.limit) - f.at.Offset
	}
	return n > 0
}

// fill reads what follows the position of f up to its limit, and returns it, valid until
// the next fill, and whether there is more.
//
// Whether the file still holds its position is checked only after the read, so that a
// truncation before or during the read is noticed whatever the file's size is by then.
func (t *Tailer) fill(f *file) (data []byte, more bool, err error) {
	if f.limit < f.at.Offset {
		return nil, false, errTruncated
	}
	f.nuls = min(f.nuls, f.limit-f.at.Offset)
	before := int(min(f.start(), position.Window))
	t.before = before
	if want := before + t.size; len(t.buf) < want {
		t.buf = make([]byte, want)
	}
	buf := t.buf[:min(int64(len(t.buf)), int64(before)+f.limit-f.start())]
	t.log.Step()
	n, err := pread(f.open, buf, f.start()-int64(before))
	if err != nil {
		return nil, false, err
	}
	n = max(n, before)
	data = buf[before:n]
	t.log.Step()
	switch ok, err := t.holds(f, data); {
	case err != nil:
		return nil, false, err
	case !ok:
		return nil, false, errTruncated
	}
	f.end = max(f.end, f.limit)
	return data, n == len(buf) && f.start()+int64(len(data)) < f.limit, nil
}

// holds reports whether f still holds its position, and the NULs passed over since, or,
// where there is no position yet, begins as data does.
func (t *Tailer) holds(f *file, data []byte) (bool, error) {
	if f.at.Offset > 0 {
		ok, err := f.at.IsHeldBy(f.open)
		if err != nil || !ok {
			return false, err
		}
	}
	var buf [position.Window]byte
	switch {
	case f.nuls > 0:
		first := buf[:min(f.nuls, position.Window)]
		n, err := pread(f.open, first, f.at.Offset)
		if err != nil {
			return false, err
		}
		last := t.buf[max(0, t.before-len(first)):t.before]
		if n < len(first) || !blank(first) || !blank(last) {
			f.nuls = 0 // they were overwritten
			return false, errAgain
		}
	case f.at.Offset == 0:
		begin := data[:min(len(data), position.Window)]
		n, err := pread(f.open, buf[:len(begin)], 0)
		if err != nil || string(buf[:n]) != string(begin) {
			return false, err
		}
	}
	return true, nil
}

func blank(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

// grow makes room for a longer line. MaxLineBytes bounds it: what is longer is cut.
func (t *Tailer) grow() {
	t.buf = make([]byte, min(4*len(t.buf), position.Window+t.cfg.MaxLineBytes+t.size))
}

// shrink returns to the small buffer once a long line is done.
func (t *Tailer) shrink(rest int) {
	if len(t.buf) > position.Window+t.size && rest < t.size {
		t.buf = nil
	}
}

// flush returns once everything handed to the sink is printed.
func (t *Tailer) flush() error {
	if err := t.cfg.Sink.Flush(); err != nil {
		return fmt.Errorf("%w: %w", errSink, err)
	}
	if t.lines > 0 {
		t.status.Lines += t.lines
		t.status.LastLine = time.Now()
	}
	t.lines = 0
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
