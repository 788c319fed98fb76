package tail

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	"sidecar.example/log-sidecar/internal/lines"
	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
)

// maxGone is how many positions are kept of files that are gone. They may come back: a
// symbolic link is switched back, a volume is mounted again, a backup is restored.
const maxGone = 256

// A registry knows which files there are, and how far each has been printed.
type registry struct {
	log      *logfiles.Log
	store    *position.Store
	messages *slog.Logger

	files    []*file    // of the log, oldest first; the live one, if there is one, is last
	gone     []goneFile // files of which only the position is left, oldest first
	newest   int64      // order of the newest file
	complete bool       // all of the log was listed, when it last was
	troubles []error    // of the directory, when it was last listed
	unsaved  bool       // the last save failed
	lost     Lost
}

// Lost counts what has happened to files before they were printed to their end.
type Lost struct {
	Truncations int64
	Gaps        int64 // files that went
	GapBytes    int64 // bytes in those, as far as known
}

// remember takes over positions of an earlier life. Files that should be there are expected.
func (r *registry) remember(positions []position.Position, expected bool) {
	slices.SortFunc(positions, func(a, b position.Position) int { return cmp.Compare(a.Order, b.Order) })
	for _, at := range positions {
		r.newest = max(r.newest, at.Order)
		r.gone = append(r.gone, goneFile{at: at, expected: expected && !at.Done})
	}
}

// update takes over which files there are, and finds out which of them are known.
func (r *registry) update(listing *logfiles.Listing) {
	r.troubles = listing.Troubles
	r.complete = listing.Complete

	known := make(map[logfiles.ID]*file, len(r.files))
	for _, f := range r.files {
		known[f.ID] = f
		f.Live = false
		f.listed = f.listed && !listing.Complete
	}
	behind := false
	for _, found := range listing.Files {
		f := known[found.ID]
		if f != nil && f.open == nil && f.Born != found.Born {
			f.listed, f = false, nil // it was deleted, and its inode is used again
		}
		if f == nil {
			f = &file{}
			f.see(found)
			r.recall(f)
			r.files = append(r.files, f)
		}
		if f.at.Offset == 0 && !f.ignored && (!f.placed || behind) {
			f.at.Order = r.nextOrder() // it comes after those of which something was printed
			behind = true              // and those that were the log later come after it
		}
		f.placed = !found.Live && (f.placed || found.Size == 0)
		f.see(found)
		f.listed = true
	}
	for _, f := range slices.Clone(r.files) {
		switch {
		case f.listed:
		case f.open == nil:
			f.Deleted = f.rest // or is somewhere else; what was not at rest may have been replaced
			r.forget(f)
		case f.at.Offset == 0 && !f.placed: // it was the live one, before anything was written to it
			f.at.Order = r.nextOrder()
		}
	}
	slices.SortFunc(r.files, func(a, b *file) int {
		if a.Live != b.Live {
			return cmp.Compare(boolean(a.Live), boolean(b.Live))
		}
		return cmp.Compare(a.at.Order, b.at.Order)
	})
}

func (r *registry) nextOrder() int64 {
	r.newest++
	return r.newest
}

// recall finds the position of a file that is seen for the first time, or again. One of
// its identity is not enough: the file must have the content that the position tells of.
// Of several, as after a truncation, the newest is that of what it has now.
func (r *registry) recall(f *file) {
	best := -1
	for i := range r.gone {
		at, was := &r.gone[i].at, r.gone[i].file
		if at.ID != f.ID || best >= 0 && at.Order < r.gone[best].at.Order {
			continue
		}
		if was != nil && was.Born != f.Born {
			continue // its inode was given to another file
		}
		if r.isHeldBy(at, f) {
			best = i
		} else {
			f.rewritten = !f.Live && f.Size >= at.Offset
			was := *f // it has other content now
			if was.Live {
				was.left = time.Now().UnixNano()
			}
			r.gone[i].file = &was
		}
	}
	if best >= 0 {
		f.at.Position = r.gone[best].at
		r.gone = slices.Delete(r.gone, best, best+1)
	}
}

// live returns the live file, or nil.
func (r *registry) live() *file {
	if len(r.files) > 0 && r.files[len(r.files)-1].Live {
		return r.files[len(r.files)-1]
	}
	return nil
}

// lose starts f anew, whose content is not what was printed of it: it was truncated, or
// rewritten. Its position may go on in another file.
func (r *registry) lose(f *file) {
	if f.at.Offset > 0 {
		r.lost.Truncations++
		r.messages.Info("the log was truncated", "path", f.Path, "offset", f.at.Offset)
		was := *f
		was.left = time.Now().UnixNano()
		was.Live = true // whatever its name is by now: it is the log that is truncated
		r.gone = append(r.gone, goneFile{at: f.at.Position, file: &was, unread: max(0, f.end-f.at.Next())})
		if f.Live {
			f.truncated = was.left
		}
	}
	f.rewritten = !f.Live && f.limit >= f.at.Offset
	f.at = lines.Place{}
	f.end, f.rest, f.ignored, f.placed = 0, false, false, false
	r.giveBack(f)
}

// forget keeps only the position of f.
func (r *registry) forget(f *file) {
	f.close()
	r.giveBack(f)
	r.files = slices.DeleteFunc(r.files, func(other *file) bool { return other == f })
	r.gone = append(r.gone, goneFile{at: f.at.Position, file: f, unread: f.unread()})
}

// settle counts what is gone for good, and forgets the positions that are too many.
func (r *registry) settle() {
	for i := range r.gone {
		g := &r.gone[i]
		if (g.unread > 0 || g.expected && r.complete) && !g.found && !r.isInCopy(g) {
			r.lost.Gaps++
			args := []any{"position", g.at.Offset}
			if g.file != nil {
				args = append(args, "path", g.file.Path)
			}
			if g.unread > 0 {
				r.lost.GapBytes += g.unread
				args = append(args, "bytes", g.unread)
			}
			r.messages.Warn("a file is gone that was not printed to its end: lines may be missing", args...)
		}
		g.unread, g.expected = 0, g.expected && !r.complete
		if !g.at.Done && !g.expected {
			g.at.Done = true // counted once, not at every start
			r.save(&g.at)
		}
	}
	r.gone = slices.DeleteFunc(r.gone, func(g goneFile) bool { return g.at.Offset == 0 })
	if !r.complete {
		return
	}
	for len(r.gone) > maxGone {
		_ = r.store.Drop(&r.gone[0].at) // a slot too many does no harm
		r.gone = slices.Delete(r.gone, 0, 1)
	}
}

// save saves a position. A failure only means that lines are printed again after a
// restart, so it is logged, once, and reading continues.
func (r *registry) save(at *position.Position) {
	r.log.Step()
	err := r.store.Save(at)
	if err != nil && !r.unsaved {
		r.messages.Error("a position cannot be saved: lines will be printed again after a restart", "error", err.Error())
	}
	r.unsaved = err != nil
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
