// Package logfiles tells which files make up a log: the one at the log's path, and those
// it was rotated to. It knows their names, identities, times and order, and whether
// anybody has them open for writing, but nothing of what is in them.
package logfiles

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// ID identifies a file to the kernel. It is reused once the file is deleted.
type ID struct{ Dev, Ino uint64 }

// A File is one file of the log, as it was when it was looked at. Times are Unix times in
// ns.
type File struct {
	Path     string
	Name     string // in its directory; for a symbolic link, that of the file it leads to
	ID       ID
	Size     int64
	Modified int64 // last write
	Changed  int64 // last change of its inode: a write, a rename, an unlink
	Born     int64 // creation; 0 if the file system does not tell
	Live     bool  // it is the one at the log's path
	Deleted  bool  // it has no name any more

	mode   fs.FileMode
	mount  uint64 // the volume it is on; 0 if the system does not tell
	number int    // that rotation has added to the log's name; -1 if it was none
	order  int64  // when the file came to be the log, as far as that can be told
}

// Same reports whether nothing has happened to the file between two looks at it. A rename
// alone counts as nothing.
func (f *File) Same(g *File) bool {
	return f.ID == g.ID && f.Size == g.Size && f.Modified == g.Modified
}

// A Log is the log at a path. Its methods may be called from any goroutine.
type Log struct {
	path, dir, base string

	// Hook, if set, is called before every system call whose result decides something,
	// so that tests can put a rename or a kill there.
	Hook func()
}

// New returns the log at path, which need not exist.
func New(path string) *Log {
	// Not cleaned: a .. behind a symbolic link is not what it looks like.
	dir, base := filepath.Split(path)
	return &Log{path: path, dir: cmp.Or(dir, "./"), base: base}
}

// Step calls Hook.
func (l *Log) Step() {
	if l.Hook != nil {
		l.Hook()
	}
}

var (
	// ErrMoved means that a file no longer has the name it was listed with: list again.
	ErrMoved = errors.New("the file was renamed")

	errIrregular = errors.New("is not a regular file")
	errMounted   = errors.New("is mounted as a single file")
	errOutside   = errors.New("is a symbolic link that leads out of its volume, and is not followed")
)

// A Listing is what List has found.
type Listing struct {
	Files []*File // oldest first, the live one last; see leaveOutEmpty
	// Complete: the directory is there and was read, so a file that is not listed has
	// gone.
	Complete bool
	// Stable: nothing was renamed meanwhile. A file that was may be missing.
	Stable bool
	// Troubles tells what could not be looked at; the rest is listed all the same.
	Troubles []error
}

// List lists the files of the log. A rotation renames several files one after another, so
// each reading of the directory but the last is followed by another, to see whether they
// agree; there are at most so many.
func (l *Log) List(readings int) (listing Listing) {
	for left := readings - 1; !listing.Stable; left-- {
		listing = Listing{}
		sum := l.scan(&listing, func(f File) { listing.Files = append(listing.Files, &f) })
		if left <= 0 {
			break
		}
		listing.Stable = sum == l.scan(&Listing{}, func(File) {})
	}
	seen := make(map[ID]bool, len(listing.Files))
	listing.Files = slices.DeleteFunc(listing.Files, func(f *File) bool { // it has several names
		was := seen[f.ID]
		seen[f.ID] = true
		return was
	})
	listing.Files = leaveOutEmpty(listing.Files)
	sortOldestFirst(listing.Files)
	return listing
}

// leaveOutEmpty leaves out the rotated files that are empty, unless they are older than the
// live one: a process may have one of those open, and write to it. A younger one may have
// been made to be the live one next.
func leaveOutEmpty(files []*File) []*File {
	born := int64(0)
	for _, f := range files {
		if f.Live {
			born = f.Born
		}
	}
	return slices.DeleteFunc(files, func(f *File) bool { return !f.Live && f.Size == 0 && f.Born >= born })
}

var seed = maphash.MakeSeed()

// scan passes the files to found, once, in no order, and returns a checksum of their names
// and identities.
func (l *Log) scan(listing *Listing, found func(File)) (sum uint64) {
	listing.Complete = true
	pass := func(f File) {
		sum += maphash.Comparable(seed, struct { // a sum does not depend on the order
			path string
			id   ID
		}{f.Path, f.ID})
		found(f)
	}
	live, err := l.Live()
	switch {
	case err == nil:
		pass(live)
	case !errors.Is(err, fs.ErrNotExist):
		listing.Troubles = append(listing.Troubles, err)
	}
	for _, dir := range l.places() {
		if err := l.readDir(dir.path, dir.base, pass); err != nil {
			listing.Complete = false
			if !errors.Is(err, fs.ErrNotExist) {
				listing.Troubles = append(listing.Troubles, fmt.Errorf("list the rotated files: %w", err))
			}
		}
	}
	return sum
}

// A place is a directory in which the log's files are, and the name they are made of.
type place struct{ path, base string }

// places returns the log's directory and, if the log is a symbolic link, that of the file
// it leads to, which may be rotated there.
func (l *Log) places() []place {
	places := []place{{l.dir, l.base}}
	link, err := stat(l.path, false)
	if err != nil || link.mode&fs.ModeSymlink == 0 {
		return places
	}
	if file, err := stat(l.path, true); err != nil || file.mount != link.mount {
		return places // it leads nowhere, or out of the volume
	}
	if target, err := filepath.EvalSymlinks(l.path); err == nil {
		if at := (place{filepath.Dir(target) + "/", filepath.Base(target)}); at != places[0] {
			places = append(places, at)
		}
	}
	return places
}

// Dirs returns the directories in which the log's files are.
func (l *Log) Dirs() []string {
	var dirs []string
	for _, place := range l.places() {
		// fsnotify cleans paths, so what it is given must not contain a link.
		dir, err := filepath.EvalSymlinks(place.path)
		if err != nil {
			dir = place.path
		}
		dirs = append(dirs, dir)
	}
	return slices.Compact(dirs)
}

// Watchable returns an error if what happens to the log causes no events in Dirs: a file
// that is mounted alone has its events in the directory that it was mounted from.
func (l *Log) Watchable() error {
	file, err := stat(l.path, false)
	if err != nil {
		return nil //nolint:nilerr // it may come
	}
	if dir, err := stat(l.dir, true); err == nil && dir.mount != file.mount {
		return fmt.Errorf("%s %w", l.path, errMounted)
	}
	return nil
}

// Has reports whether a file of this name in one of Dirs may belong to the log.
func (l *Log) Has(name string) bool {
	for _, place := range l.places() {
		if _, ok := rotated(place.base, name); ok || name == place.base {
			return true
		}
	}
	return false
}

// readDir passes the rotated files in dir to found, without holding all names at once:
// a directory may have any number of other files.
func (l *Log) readDir(dir, base string, found func(File)) error {
	l.Step()
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	var trouble error
	for {
		names, err := d.Readdirnames(512)
		for _, name := range names {
			suffix, ok := rotated(base, name)
			if !ok {
				continue
			}
			l.Step()
			path := dir + name
			f, err := stat(path, false)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // the directory may not be entered
				trouble = err
			}
			// Nothing but a regular file is a rotated one: a link could lead to whatever
			// the sidecar may read, and its like is no evidence of the log's writer.
			if err != nil || !f.mode.IsRegular() {
				continue
			}
			f.Path, f.Name, f.number = path, path[len(dir):], rotationNumber(suffix)
			found(f)
		}
		if errors.Is(err, io.EOF) {
			return trouble
		}
		if err != nil {
			return err
		}
	}
}

// Live returns the file at the log's path. A symbolic link is followed, but not out of
// the volume that it is on: who may write there is not to choose among all that the
// sidecar may read.
func (l *Log) Live() (File, error) {
	l.Step()
	f, err := stat(l.path, false)
	if err != nil {
		return File{}, err
	}
	name := l.base
	if f.mode&fs.ModeSymlink != 0 {
		link := f
		if f, err = stat(l.path, true); err != nil {
			return File{}, err
		}
		if f.mount != link.mount {
			return File{}, fmt.Errorf("%s %w", l.path, errOutside)
		}
		if target, err := filepath.EvalSymlinks(l.path); err == nil {
			name = filepath.Base(target)
		}
	}
	if !f.mode.IsRegular() {
		return File{}, fmt.Errorf("%s %w", l.path, errIrregular)
	}
	f.Path, f.Name, f.Live = l.path, name, true
	return f, nil
}

// Open opens f for reading. It returns ErrMoved if f no longer has its name, and so never
// another file than the one that was looked at.
func (l *Log) Open(f *File) (*os.File, error) {
	l.Step()
	flags := os.O_RDONLY | syscall.O_NONBLOCK // else opening a pipe would wait for its writer
	if !f.Live {
		flags |= syscall.O_NOFOLLOW
	}
	opened, err := os.OpenFile(f.Path, flags, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) {
		return nil, ErrMoved
	}
	if err != nil {
		return nil, err
	}
	l.Step()
	now, err := Stat(opened)
	if err == nil && (now.ID != f.ID || now.mount != f.mount || !now.mode.IsRegular()) {
		err = ErrMoved
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}

// Again looks at f again, which is open as opened or, where that is nil, still has its name:
// else it returns ErrMoved.
func (l *Log) Again(f *File, opened *os.File) (now File, err error) {
	l.Step()
	if opened != nil {
		now, err = Stat(opened)
	} else {
		now, err = stat(f.Path, f.Live)
		if errors.Is(err, fs.ErrNotExist) || err == nil && (now.ID != f.ID || !now.mode.IsRegular()) {
			err = ErrMoved
		}
	}
	now.Path, now.Name, now.Live = f.Path, f.Name, f.Live
	return now, err
}
