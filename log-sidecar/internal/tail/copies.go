package tail

import (
	"bytes"
	"errors"
	"io"
	"os"

	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
)

// Whether a file that was not known is a copy of another is for its content to tell. Where
// the times of the two show that it was made as a copy, a few bytes are enough; otherwise
// they must be such as no two files have by chance.

// madeBeside reports whether f, which is not known, was made beside the file of, and so is
// not what an app began after of was rotated: then its creation would come last.
func madeBeside(f, of *logfiles.File) bool {
	switch {
	case f.Born == 0: // not known on this file system
		return false
	case of.Live: // f has a rotated file's name, and is younger: logrotate's copytruncate
		return f.Born > of.Born
	case f.Live: // it was there before the other one lost the log's name: sed -i, rsync
		return f.Born < of.Changed
	default:
		return false
	}
}

// madeAfter reports whether f was made after the file of, but was given an earlier time, as
// cp -p does. Its place in the order, which goes by that time, is not that of its lines.
func madeAfter(f, of *logfiles.File) bool {
	return f.Born > f.Modified && of.Born != 0 && of.Born < f.Born
}

// inherit has f go on where a file that has gone ended, if it is a copy of that: a
// copytruncate copy, a log that was moved to a new volume. All do so before any is printed:
// of two that begin alike, one may be a copy of the other.
func (t *Tailer) inherit(f *file) error {
	if f.limit <= 0 || len(t.gone) == 0 || !t.mayBeCopy(f) {
		return nil
	}
	_, err := t.peek(f, func(content io.ReaderAt) (bool, error) {
		head, err := headOf(content, f.limit)
		for i := 0; i < len(t.gone) && err == nil; i++ {
			g := &t.gone[i]
			sure := f.at.Copy && g.at.Copy || g.file != nil && madeBeside(&f.File, g.file)
			var ok bool
			if ok, err = t.take(f, content, head, &g.at, sure); ok {
				g.found = true
				t.isCopy(&g.at)
			}
		}
		return true, err
	})
	return err
}

// mayBeCopy reports whether f may be a copy, and be behind the file that it is a copy of.
func (t *Tailer) mayBeCopy(f *file) bool {
	return f.at.Copy || f.at.Offset == 0 && (t.listed || !f.Live)
}

// headOf returns the first bytes of a file that is limit long, up to the Window.
func headOf(content io.ReaderAt, limit int64) ([]byte, error) {
	head := make([]byte, min(limit, position.Window))
	n, err := content.ReadAt(head, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return head[:n], err
}

// adopt has f go on where another file has been printed to, if it is a copy of that: a
// grown copy that has replaced the log, a backup. It is called before each read, because
// either may be read meanwhile.
func (t *Tailer) adopt(f *file) error {
	if f.limit == 0 || !t.mayBeCopy(f) {
		return nil
	}
	head, err := headOf(f.open, f.limit)
	if err != nil {
		return err
	}
	for _, g := range t.files {
		if g == f {
			continue
		}
		beside := madeBeside(&f.File, &g.File)
		if f.Live && g.listed && !g.Live && !beside {
			continue // the app began it when the other one had been rotated
		}
		isNew := f.at.Offset == 0
		sure := f.at.Copy && g.at.Copy || isNew && beside && (!f.Live || !g.listed)
		ok := false
		switch {
		case g.at.Offset > f.limit && !f.Live: // f is only being made, or g has grown since
			if sure || isNew && len(head) == position.Window && g.at.MayBeHeldBy(head) {
				ok, err = t.takePart(f, g, head, sure)
			}
		case sure || isNew:
			ok, err = t.take(f, f.open, head, &g.at, sure)
			if err == nil && !ok && beside && f.Live && !g.listed && f.at.Offset == 0 {
				err = t.takeCommon(f, g)
			}
		}
		if err != nil {
			return err
		}
		if ok {
			t.isCopy(&g.at)
		}
	}
	return nil
}

// takeCommon moves f to the first line in which it differs from g, which it has replaced:
// somebody has edited the log (sed -i).
func (t *Tailer) takeCommon(f, g *file) error {
	var a, b [4096]byte
	var common int64
	for at, end := int64(0), min(f.limit, g.at.Offset); at < end; at += int64(len(a)) {
		n := min(end-at, int64(len(a)))
		t.log.Step()
		x, err := pread(f.open, a[:n], at)
		if err != nil {
			return err
		}
		y, err := pread(g.open, b[:n], at)
		if err != nil {
			return err
		}
		same := 0
		for same < min(x, y) && a[same] == b[same] {
			same++
		}
		if line := bytes.LastIndexByte(a[:same], '\n'); line >= 0 {
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
		t.move(f, &at)
	}
	return err
}

// takePart moves f to the end of its last line, if g, which is longer, has the same content
// up to there.
func (t *Tailer) takePart(f, g *file, head []byte, sure bool) (bool, error) {
	end, err := lastLineEnd(f.open, f.limit)
	if err != nil || end <= f.at.Offset {
		return false, err
	}
	var at position.Position
	held, err := t.peek(g, func(content io.ReaderAt) (held bool, err error) {
		if at, err = position.At(content, end); err != nil {
			return false, err
		}
		return g.at.IsHeldBy(content)
	})
	if err != nil {
		return false, err
	}
	if !held && at.Offset > 0 {
		t.lose(g) // it was truncated: then f is complete by now
		return false, errAgain
	}
	return t.take(f, f.open, head, &at, sure)
}

// peek calls look with g, which may not be open. It reports what look does, and false
// where g cannot be read: that trouble is told where g is followed.
func (t *Tailer) peek(g *file, look func(io.ReaderAt) (bool, error)) (bool, error) {
	opened := g.open
	if opened == nil {
		var err error
		if opened, err = t.log.Open(&g.File); errors.Is(err, logfiles.ErrMoved) {
			return false, errAgain
		} else if err != nil {
			return false, nil //nolint:nilerr // see above
		}
		defer opened.Close()
	}
	ok, err := look(opened)
	return ok && err == nil, nil
}

// lastLineEnd returns where the last line that ends before offset ends in f, or 0 if that
// is far away.
func lastLineEnd(f *os.File, offset int64) (int64, error) {
	var buf [4096]byte
	start := max(0, offset-int64(len(buf)))
	n, err := pread(f, buf[:offset-start], start)
	if end := bytes.LastIndexByte(buf[:n], '\n'); end >= 0 {
		return start + int64(end) + 1, err
	}
	return 0, err
}

// take moves f, which begins with head, forward to at, a position in another file, if f
// has the content for that. Unless it is sure that f is a copy, the content must prove it.
func (t *Tailer) take(f *file, content io.ReaderAt, head []byte, at *position.Position, sure bool) (bool, error) {
	if at.Offset <= f.at.Offset || at.Offset > f.limit || !sure && at.Offset < position.Proof || !at.MayBeHeldBy(head) {
		return false, nil
	}
	t.log.Step()
	ok, err := at.IsHeldBy(content)
	if err == nil && ok && !sure {
		ok, err = at.Proves(content)
	}
	if err != nil || !ok {
		return false, err
	}
	t.move(f, at)
	return true, nil
}

// move has f go on at a position that another file has, too.
func (t *Tailer) move(f *file, at *position.Position) {
	f.at.ID = f.ID
	f.at.Offset, f.at.Head, f.at.Tail, f.at.Split = at.Offset, at.Head, at.Tail, at.Split
	f.nuls = 0
	t.isCopy(&f.at)
}

// isCopy remembers that another file has the same content.
func (t *Tailer) isCopy(at *position.Position) {
	at.Copy = true
	t.save(at)
}

// waits reports whether f, a copy, has lines that are not printed, but will be when its
// original is read: that comes where it belongs in the order, whatever the copy's times are.
func (t *Tailer) waits(f *file) (bool, error) {
	for _, g := range t.files {
		// One of the two may have been written to since the other was measured.
		n := min(f.limit, g.Size)
		if n <= f.at.Offset || !madeBeside(&f.File, &g.File) && !madeAfter(&f.File, &g.File) {
			continue // where nothing tells which of the two is the copy, they come in their order
		}
		twin, err := t.isTwin(f, g, n)
		if err != nil {
			return false, err
		}
		if twin {
			end, err := lastLineEnd(f.open, n)
			if end > f.at.Offset {
				f.twin = g
			}
			return f.twin != nil, err
		}
	}
	return false, nil
}

// leaveToTwin leaves the line that f ends within to another file that has all that f has,
// where it may be finished, if there is one.
func (t *Tailer) leaveToTwin(f *file) error {
	for _, g := range t.files {
		if g.Size < f.limit {
			continue
		}
		twin, err := t.isTwin(f, g, f.limit)
		if err != nil {
			return err
		}
		if twin {
			f.twin = g
			return nil
		}
	}
	return nil
}

// giveBack gives the other files back what they left to f.
func (t *Tailer) giveBack(f *file) {
	for _, other := range t.files {
		if other.twin == f {
			other.twin, other.rest = nil, nil
		}
	}
}

// isTwin reports whether f is a copy of g, and both have the same content up to offset.
func (t *Tailer) isTwin(f, g *file, offset int64) (bool, error) {
	sure := f.at.Copy && g.at.Copy || madeBeside(&f.File, &g.File)
	if g == f || g.twin != nil || !sure && !madeAfter(&f.File, &g.File) {
		return false, nil
	}
	mine, err := position.At(f.open, offset)
	if err != nil {
		return false, err
	}
	if !sure {
		if ok, err := mine.Proves(f.open); err != nil || !ok {
			return false, err
		}
	}
	return t.peek(g, mine.IsHeldBy)
}
