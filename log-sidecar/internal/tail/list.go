package tail

import (
	"cmp"
	"slices"
	"time"

	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
)

// A goneFile is what is left of a file that has gone: of its content, or all of it.
type goneFile struct {
	at       position.Position
	file     *logfiles.File // as last seen; nil: in an earlier life
	unread   int64          // bytes that are known not to have been printed
	expected bool           // it should be there: who knows what it had
	found    bool           // another file goes on where it ended
}

// list finds out which files there are, and which of them are known.
func (t *Tailer) list() error {
	t.stale, t.listed = false, true
	if waker := t.waker.Load(); waker != nil {
		waker.Watch(t.log.Dirs())
	}
	listing := t.log.List(readings)
	if !listing.Stable && t.waitForRotation() {
		return errMoving
	} else if listing.Stable {
		t.moving = time.Time{}
	}
	t.troubles = t.troubles[:0]
	for _, err := range listing.Troubles {
		t.troubles = append(t.troubles, err.Error())
	}
	t.complete = t.complete || listing.Complete

	known := make(map[logfiles.ID]*file, len(t.files))
	for _, f := range t.files {
		known[f.ID] = f
		f.Live = false
		f.listed = f.listed && !listing.Complete
	}
	for i := range listing.Files {
		found := &listing.Files[i]
		f := known[found.ID]
		if f == nil {
			f = &file{}
			t.recall(f, found)
			t.files = append(t.files, f)
		}
		if f.at.Offset == 0 { // it comes after those of which something was printed
			t.order++
			f.at.Order = t.order
		}
		f.see(found)
		f.listed = true
		if f.Live {
			f.held = time.Time{}
		}
	}
	for _, f := range slices.Clone(t.files) {
		switch {
		case f.listed:
		case f.open == nil:
			t.forget(f)
		case f.at.Offset == 0: // it was the live one, before anything was written to it
			t.order++
			f.at.Order = t.order
		}
	}
	slices.SortFunc(t.files, func(a, b *file) int {
		if a.Live != b.Live {
			return cmp.Compare(btoi(a.Live), btoi(b.Live))
		}
		return cmp.Compare(a.at.Order, b.at.Order)
	})
	t.publish()
	return nil
}

// waitForRotation reports whether to wait until the rotation that goes on has ended: in
// the middle of it a file can be overlooked. Somebody who renames all the time is not
// waited for.
func (t *Tailer) waitForRotation() bool {
	if t.moving.IsZero() {
		t.moving = time.Now()
	}
	return time.Since(t.moving) < maxMoving
}

// recall finds the position of a file that is seen for the first time, or again. One of
// its identity is not enough: the file must have the content that the position tells of.
func (t *Tailer) recall(f *file, found *logfiles.File) {
	best := -1
	for i := range t.gone {
		at := &t.gone[i].at
		if at.ID != found.ID || best >= 0 && at.Offset < t.gone[best].at.Offset {
			continue
		}
		if t.isHeldBy(at, found) {
			best = i
		} else {
			was := *found
			t.gone[i].file = &was // it has other content now
		}
	}
	if best >= 0 {
		f.at = t.gone[best].at
		t.gone = slices.Delete(t.gone, best, best+1)
	}
}

// isHeldBy reports whether f holds the position. One that cannot be read now is trusted:
// what it holds is checked again when it is read.
func (t *Tailer) isHeldBy(at *position.Position, f *logfiles.File) bool {
	opened, err := t.log.Open(f)
	if err != nil {
		return true
	}
	defer opened.Close()
	held, err := at.IsHeldBy(opened)
	return held || err != nil
}

// lose starts f anew, whose content is not what was printed of it: it was truncated, or
// rewritten. Its position may go on in another file.
func (t *Tailer) lose(f *file) {
	if f.at.Offset > 0 {
		t.status.Truncations++
		t.cfg.Log.Info("the log was truncated", "path", f.Path, "offset", f.at.Offset)
		was := f.File
		was.Live = true // whatever its name is by now: it is the log that is truncated
		t.gone = append(t.gone, goneFile{at: f.at, file: &was, unread: max(0, f.end-f.start())})
	}
	f.at = position.Position{}
	f.nuls, f.end, f.rest, f.ignored = 0, 0, nil, false
	t.giveBack(f)
}

// forget keeps only the position of f.
func (t *Tailer) forget(f *file) {
	f.close()
	t.giveBack(f)
	t.files = slices.DeleteFunc(t.files, func(other *file) bool { return other == f })
	was := f.File
	t.gone = append(t.gone, goneFile{at: f.at, file: &was, unread: f.unread()})
}

// settle counts what is gone for good, and forgets the positions that are too many.
func (t *Tailer) settle() {
	for i := range t.gone {
		g := &t.gone[i]
		if !g.found && (g.unread > 0 || g.expected && t.complete) {
			t.status.Gaps++
			args := []any{"position", g.at.Offset}
			if g.file != nil {
				args = append(args, "path", g.file.Path)
			}
			if g.unread > 0 {
				t.status.GapBytes += g.unread
				args = append(args, "bytes", g.unread)
			}
			t.cfg.Log.Warn("a file is gone that was not printed to its end: lines may be missing", args...)
		}
		g.unread, g.expected = 0, g.expected && !t.complete
		if !g.at.Done && !g.expected {
			g.at.Done = true // counted once, not at every start
			t.save(&g.at)
		}
	}
	t.gone = slices.DeleteFunc(t.gone, func(g goneFile) bool { return g.at.Offset == 0 })
	if !t.complete {
		return
	}
	for len(t.gone) > maxGone {
		_ = t.store.Drop(&t.gone[0].at) // a slot too many does no harm
		t.gone = slices.Delete(t.gone, 0, 1)
	}
}
