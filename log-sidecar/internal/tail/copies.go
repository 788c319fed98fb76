package tail

import (
	"bytes"
	"errors"
	"io"
	"slices"

	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
)

// Whether a file is a copy of another is for its content to tell. Where the times of the
// two show that it was made as a copy, a few bytes are enough; otherwise they must be such
// as no two files have by chance.

// madeBeside reports whether f was made beside the file of, and so is not what an app began
// after of was rotated: then its creation would come last.
func madeBeside(f, of *file) bool {
	switch {
	case f.Born == 0: // not known on this file system
		return false
	case of.Live: // f has a rotated file's name, and is younger: logrotate's copytruncate
		return f.Born > of.Born && !madeLater(f, of)
	case f.Live: // it was there before the other one lost the log's name: sed -i, rsync
		return f.Born < of.left
	default:
		return false
	}
}

// madeLater reports whether f was made when the file of, which was the log, had been truncated.
func madeLater(f, of *file) bool { return of.Live && of.left != 0 && f.Born >= of.left }

// madeAfter reports whether f was made after the file of, but was given an earlier time. Its
// place in the order, which goes by that time, is not that of its lines.
func madeAfter(f, of *file) bool { return f.IsRestored() && of.Born != 0 && of.Born < f.Born }

// begunAnew reports whether f is a log that was begun when the file of, printed up to at, was
// the log no more, and that nobody has restored; or that was truncated when of had been copied
// from it. It is no copy, though the app may have written the same to both.
func begunAnew(f, of *file, at *position.Position) bool {
	switch {
	case !f.Live || f.IsRestored():
		return false
	case at.Copy && f.truncated > of.left:
		return true
	default:
		return of.Deleted && of.left < f.Born && at.Offset < maxSame
	}
}

// maxSame is more than an app writes twice without a single time in it.
const maxSame = 64 << 10

// mayBeCopy reports whether f may be behind a file that it is a copy of: it has gone on
// where another one was, or nothing of it is printed.
func (f *file) mayBeCopy() bool { return f.at.Copy || f.at.Offset == 0 }

// inherit has f go on where a file that has gone ended, if it is a copy of that: a
// copytruncate copy, a log that was moved to a new volume. All do so before any is printed:
// of two that begin alike, one may be a copy of the other.
func (r *registry) inherit(f *file) error {
	if f.limit <= 0 || len(r.gone) == 0 || !f.mayBeCopy() {
		return nil
	}
	_, err := r.peek(f, func(content io.ReaderAt) (bool, error) {
		head, err := headOf(content, f.limit)
		for i := 0; i < len(r.gone) && err == nil; i++ {
			g := &r.gone[i]
			sure := f.at.Copy && g.at.Copy
			if g.file != nil && !sure {
				if g.file.ID == f.ID && g.file.Born == f.Born || madeLater(f, g.file) || begunAnew(f, g.file, &g.at) {
					continue // its lines were written again
				}
				sure = madeBeside(f, g.file)
			}
			var ok bool
			if ok, err = r.take(f, content, head, &g.at, sure); ok {
				g.found = true
			}
		}
		return true, err
	})
	return err
}

// adopt has f go on where the files that it is a copy of have been printed to, such as one
// that it has replaced, and has it wait for its original where that is not printed as far.
// It is called before each read, because any of them may be read meanwhile.
func (r *registry) adopt(f *file) error {
	f.twin = nil
	if f.limit <= f.at.Offset || f.Live && !f.mayBeCopy() {
		return nil
	}
	head, err := headOf(f.open, f.limit)
	if err != nil {
		return err
	}
	for _, g := range r.files {
		sure, related := kinship(f, g)
		if !related || !f.mayBeCopy() || !sure && f.at.Offset > 0 {
			continue
		}
		ok, err := r.take(f, f.open, head, &g.at.Position, sure)
		if err == nil && !ok && sure && f.Live && f.at.Offset == 0 { // it has replaced g
			err = r.takeCommon(f, g)
		}
		if err != nil {
			return err
		}
	}
	if f.Live {
		return nil // a rotated file is the copy
	}
	for _, g := range r.files {
		if err := r.leave(f, g, head); err != nil {
			return err
		}
	}
	return nil
}

// kinship tells whether f may be a copy of g at all, and whether that is sure but for the
// content.
func kinship(f, g *file) (sure, related bool) {
	beside := madeBeside(f, g)
	switch {
	case g == f:
		return false, false
	case f.at.Copy && g.at.Copy:
		return true, true
	case begunAnew(f, g, &g.at.Position), f.Live && !beside && g.listed && !g.Live && !f.IsRestored():
		return false, false // the app began f when g had been rotated, or deleted
	}
	return beside && (!f.Live || !g.listed), true
}

// leave has f, a rotated file, leave to g what that has as well: what is printed of it needs
// no printing, and for the rest f waits if it is the copy. That comes where it belongs in
// the order, whatever the copy's times are.
func (r *registry) leave(f, g *file, head []byte) error {
	sure, related := kinship(f, g)
	end := f.limit
	isPrinted := g.at.Offset > end // f is only being made, or g has grown since
	switch {
	case !related:
		return nil
	case isPrinted:
		if !f.mayBeCopy() || !sure && (f.at.Offset > 0 || len(head) < position.Window || !g.at.MayBeHeldBy(head)) {
			return nil
		}
	case !f.mayBeCopy() || f.twin != nil || g.twin != nil || !madeBeside(f, g) && !madeAfter(f, g):
		return nil // where nothing tells which of the two is the copy, they come in their order
	case g.rest && g.at.Excludes(head):
		return nil // told without a system call: of thousands of files, each is asked about each
	default:
		end = min(end, g.Size) // one may have been written to since the other was measured
	}
	end, err := lastLineEnd(f.open, end)
	if err != nil || end <= f.at.Offset {
		return err
	}
	at, shared, err := r.shared(f, g, end, sure)
	switch {
	case err != nil:
		return err
	case isPrinted && !r.isHeldBy(&g.at.Position, g):
		r.lose(g) // it was truncated: then f is complete by now, and what g has now is not printed
		return errAgain
	case shared && isPrinted:
		r.move(f, &at)
		r.isCopy(&g.at.Position)
	case shared:
		f.twin = g
	}
	return nil
}

// shared reports whether g has what f has up to end, so that f, unless it is sure, must be a
// copy. It returns the position there.
func (r *registry) shared(f, g *file, end int64, sure bool) (at position.Position, ok bool, err error) {
	if at, err = position.At(f.open, end); err != nil {
		return at, false, err
	}
	if !sure {
		if ok, err = at.Proves(f.open); err != nil || !ok {
			return at, false, err
		}
	}
	ok, err = r.peek(g, at.IsHeldBy)
	return at, ok, err
}

// leaveRest leaves the line that f ends within to another file that has all that f has,
// where it may be finished, if there is one.
func (r *registry) leaveRest(f *file) error {
	for _, g := range r.files {
		sure, related := kinship(f, g)
		if !related || g.twin != nil || g.Size < f.limit || !sure && !madeAfter(f, g) {
			continue
		}
		_, ok, err := r.shared(f, g, f.limit, sure)
		if err != nil {
			return err
		}
		if ok {
			f.twin = g
			return nil
		}
	}
	return nil
}

// isInCopy reports whether what is not printed of a file that has gone is in a copy, which
// was found before the file had gone.
func (r *registry) isInCopy(g *goneFile) bool {
	return g.at.Copy && slices.ContainsFunc(r.files, func(f *file) bool {
		if !f.at.Copy || f.Size < g.at.Offset+g.unread {
			return false
		}
		held, _ := r.peek(f, g.at.IsHeldBy) // not one that was renamed meanwhile either
		return held
	})
}

// giveBack gives the other files back what they left to f.
func (r *registry) giveBack(f *file) {
	for _, other := range r.files {
		if other.twin == f {
			other.twin, other.rest = nil, false
		}
	}
}

// take moves f, which begins with head, forward to at, a position in another file, if f
// has the content for that. Unless it is sure that f is a copy, the content must prove it.
func (r *registry) take(f *file, content io.ReaderAt, head []byte, at *position.Position, sure bool) (bool, error) {
	if at.Offset <= f.at.Offset || at.Offset > f.limit || !sure && at.Offset < position.Proof || !at.MayBeHeldBy(head) {
		return false, nil
	}
	r.log.Step()
	ok, err := at.IsHeldBy(content)
	if err == nil && ok && !sure {
		ok, err = at.Proves(content)
	}
	if err != nil || !ok {
		return false, err
	}
	r.move(f, at)
	r.isCopy(at)
	return true, nil
}

// takeCommon moves f to the first line in which it differs from g, which it has replaced:
// somebody has edited the log (sed -i).
func (r *registry) takeCommon(f, g *file) error {
	var a, b [4096]byte
	var common int64
	for at, end := int64(0), min(f.limit, g.at.Offset); at < end; at += int64(len(a)) {
		n := min(end-at, int64(len(a)))
		r.log.Step()
		x, err := readAt(f.open, a[:n], at)
		if err != nil {
			return err
		}
		y, err := readAt(g.open, b[:n], at)
		if err != nil {
			return err
		}
		same := 0
		for same < min(len(x), len(y)) && x[same] == y[same] {
			same++
		}
		if line := bytes.LastIndexByte(x[:same], '\n'); line >= 0 {
			common = at + int64(line) + 1
		}
		if same < int(n) {
			break
		}
	}
	if common == 0 {
		return nil
	}
	at, err := position.At(f.open, common)
	if err == nil {
		r.move(f, &at)
	}
	return err
}

// move has f go on at a position that another file has, too.
func (r *registry) move(f *file, at *position.Position) {
	f.at.ID = f.ID
	f.at.Offset, f.at.Head, f.at.Tail, f.at.Split = at.Offset, at.Head, at.Tail, at.Split
	f.at.NULs = 0
	r.isCopy(&f.at.Position)
}

// isCopy remembers that another file has the same content.
func (r *registry) isCopy(at *position.Position) {
	at.Copy = true
	r.save(at)
}

// peek calls look with f, which may not be open. It reports what look does, and false
// where f cannot be read: that trouble is told where f is followed.
func (r *registry) peek(f *file, look func(io.ReaderAt) (bool, error)) (bool, error) {
	opened := f.open
	if opened == nil {
		var err error
		if opened, err = r.log.Open(&f.File); errors.Is(err, logfiles.ErrMoved) {
			return false, errAgain
		} else if err != nil {
			return false, nil //nolint:nilerr // see above
		}
		defer opened.Close()
	}
	ok, err := look(opened)
	return ok && err == nil, nil
}

// isHeldBy reports whether f holds the position. A file that cannot be read now is trusted:
// what it holds is checked again when it is read.
func (r *registry) isHeldBy(at *position.Position, f *file) bool {
	differs, _ := r.peek(f, func(content io.ReaderAt) (bool, error) {
		held, err := at.IsHeldBy(content)
		return !held, err
	})
	return !differs
}

// headOf returns the first bytes of a file that is limit long, up to the Window.
func headOf(content io.ReaderAt, limit int64) ([]byte, error) {
	return readAt(content, make([]byte, min(limit, position.Window)), 0)
}

// lastLineEnd returns where the last line that ends before offset ends in f, or 0 if that
// is far away.
func lastLineEnd(f io.ReaderAt, offset int64) (int64, error) {
	var buf [4096]byte
	for far := offset - maxSame; offset > max(0, far); offset -= int64(len(buf)) {
		start := max(0, offset-int64(len(buf)))
		data, err := readAt(f, buf[:offset-start], start)
		if end := bytes.LastIndexByte(data, '\n'); end >= 0 || err != nil {
			return start + int64(end) + 1, err
		}
	}
	return 0, nil
}

// readAt reads into buf, or less at the end of the file.
func readAt(f io.ReaderAt, buf []byte, offset int64) ([]byte, error) {
	n, err := f.ReadAt(buf, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf[:n], err
}
