package tail

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// step is called before every system call that a decision is made on. Tests put
// a rename or a kill there.
var step = func() {}

// fileID is what the kernel knows a file by.
type fileID struct{ Dev, Ino uint64 }

// A file is one of the files that the log consists of, as it was when listed.
type file struct {
	path    string
	suffix  string // of a rotated sibling: its name behind the log's own and a dot or a dash
	number  int    // that suffix as a number from 1 on; 0 where it is none
	live    bool   // it is what the log's own path names
	settled bool   // it is rotated for good: it was the live one, and what is before and after it stays
	id      fileID
	size    int64
	mtime   int64 // ns since 1970
	born    int64 // likewise; 0 where the file system does not say
}

// errMoving says that files are being renamed under our eyes; another look soon
// will do.
var errMoving = errors.New("files are being rotated")

func describe(path string, info fs.FileInfo) file {
	f := file{path: path, size: info.Size(), mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.id = fileID{Dev: uint64(st.Dev), Ino: st.Ino} //nolint:unconvert // Dev is an int32 on darwin
	}
	return f
}

// list returns the files of the log at path, oldest first: its rotated siblings
// (path.*, path-*), then the live one, where there is one. A rotation renames
// several files, one after the other; so it looks until it has seen the same twice.
func list(path string) ([]file, error) {
	files, err := scan(path)
	for range 10 {
		if err != nil {
			return nil, err
		}
		before := files
		files, err = scan(path)
		same := func(a, b file) bool { return a.path == b.path && a.id == b.id }
		if err == nil && slices.EqualFunc(before, files, same) {
			return files, nil
		}
	}
	return nil, errMoving
}

// scan is one look of list.
func scan(path string) ([]file, error) {
	files, err := siblings(path)
	if err != nil {
		return nil, err
	}
	// What a symbolic link names may be rotated where it is.
	target, isLink := linkTarget(path)
	if isLink {
		more, err := siblings(target)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	order(files)
	for i := range files {
		files[i].settled = !isLink // else it may be what the link will name next
	}

	seen := map[fileID]bool{}
	live, err := stat(path)
	switch {
	case err == nil:
		live.live = true
		seen[live.id] = true
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	// A file with several names is one file, and the live one where it is that.
	files = slices.DeleteFunc(files, func(f file) bool {
		again := seen[f.id]
		seen[f.id] = true
		return again
	})
	if live.live {
		files = append(files, live)
	}
	return files, nil
}

// linkTarget returns the path of the file that the symbolic link at path names.
func linkTarget(path string) (target string, ok bool) {
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return "", false
	}
	target, err := filepath.EvalSymlinks(path)
	return target, err == nil
}

// siblings returns what rotation has made of the name path, in any order.
func siblings(path string) (files []file, err error) {
	step()
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if !isSibling(base, entry.Name()) {
			continue
		}
		f, err := stat(filepath.Join(dir, entry.Name()))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errIrregular) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.suffix = entry.Name()[len(base)+1:]
		f.number, f.born = rotationNumber(f.suffix), born(f.path)
		files = append(files, f)
	}
	return files, nil
}

// errIrregular is returned for a directory, a pipe or a device.
var errIrregular = errors.New("is not a regular file")

func stat(path string) (file, error) {
	step()
	info, err := os.Stat(path)
	if err != nil {
		return file{}, err
	}
	if !info.Mode().IsRegular() {
		return file{}, fmt.Errorf("%s: %w", path, errIrregular)
	}
	return describe(path, info), nil
}

// compressed are the endings of files whose lines cannot be read here any more.
var compressed = []string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip"}

func isSibling(base, name string) bool {
	suffix, ok := strings.CutPrefix(name, base)
	return ok && len(suffix) > 1 && (suffix[0] == '.' || suffix[0] == '-') &&
		!slices.Contains(compressed, filepath.Ext(name))
}

// order sorts siblings, the oldest first. Their names say it best: dates, such as
// path-20261122, sort as text (logrotate asks for formats that do), and numbers by
// size. Other names are sorted by when the files were made.
func order(files []file) {
	up := countsUp(files)
	slices.SortFunc(files, func(a, b file) int {
		byName := 0
		switch {
		case a.number > 0 && b.number > 0 && up:
			byName = cmp.Compare(a.number, b.number)
		case a.number > 0 && b.number > 0:
			byName = cmp.Compare(b.number, a.number)
		case isDate(a.suffix) && isDate(b.suffix):
			byName = cmp.Compare(a.suffix, b.suffix)
		}
		return cmp.Or(byName, cmp.Compare(a.born, b.born), cmp.Compare(a.mtime, b.mtime), cmp.Compare(a.suffix, b.suffix))
	})
}

// countsUp reports whether path.2 is younger than path.1 (log4j and others), and
// not older (logrotate and most). It is where most files with a higher number were
// both made and written to later. The last write alone would not do, for a writer
// may still be writing to an older file.
func countsUp(files []file) bool {
	numbered := slices.DeleteFunc(slices.Clone(files), func(f file) bool { return f.number == 0 })
	slices.SortFunc(numbered, func(a, b file) int { return cmp.Compare(a.number, b.number) })
	up := 0
	for i := 1; i < len(numbered); i++ {
		lower, higher := &numbered[i-1], &numbered[i]
		switch {
		case higher.born < lower.born:
			up--
		case higher.born > lower.born && higher.mtime > lower.mtime:
			up++
		}
	}
	return up > 0
}

// rotationNumber is 2 for the 1 of path.1, and 0 where there is none. More than
// five digits are a date.
func rotationNumber(suffix string) int {
	n, err := strconv.Atoi(suffix)
	if err != nil || n < 0 || len(suffix) > 5 {
		return 0
	}
	return n + 1 // for some begin with path.0
}

// isDate reports whether suffix begins like 20261122, 2026-11-22 or seconds since
// 1970: with the year, or what else is most significant.
func isDate(suffix string) bool {
	return len(suffix) >= 6 && strings.Trim(suffix[:4], "0123456789") == ""
}

// locate answers the question that all of following a log comes down to: which
// of its files (oldest first, as list gives them) holds the checkpoint, and which
// come after it? A rename while running, rotations while down, copytruncate, a
// reused inode, a rewrite in place and a switched symbolic link differ only in
// the answer. The holder is nil where there is none.
//
//   - The file with the checkpoint's inode number and content holds it, under
//     whatever name it has now. (A device may have another number after a reboot.)
//   - Where that identity is there with other content, the file was truncated (or
//     its inode used again): a copy from before may hold it (copytruncate). So may
//     it where the identity is gone (copied and deleted); but a few bytes prove
//     nothing then, for many logs begin alike.
//   - Else what has been written to since comes after it, and the live file always.
func locate(files []file, at *checkpoint) (holder *file, after []file, err error) {
	if at.isZero() {
		return nil, files, nil
	}
	truncated := false
	for i := range files {
		if files[i].id.Ino != at.ID.Ino {
			continue
		}
		if ok, err := holds(&files[i], at); err != nil || ok {
			return &files[i], files[i+1:], err
		}
		truncated = truncated || files[i].id == at.ID
	}
	for i := range files {
		if files[i].live || at.Offset == 0 || !truncated && at.Offset < fingerprintLen {
			continue
		}
		// As it is by now: the list may show a copy that was still being made.
		now, err := stat(files[i].path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && now.id != files[i].id {
			err = errMoving
		}
		if err != nil {
			return nil, nil, err
		}
		// A copy is younger than what it is a copy of; an older file that happens
		// to have the same content is none.
		if now.mtime < at.MTime {
			continue
		}
		if ok, err := holds(&now, at); err != nil || ok {
			return &now, files[i+1:], err
		}
	}
	for _, f := range files {
		if f.live || f.mtime > at.MTime {
			after = append(after, f)
		}
	}
	return nil, after, nil
}

// holds opens f to see whether it holds the checkpoint.
func holds(f *file, at *checkpoint) (bool, error) {
	if at.Offset == 0 {
		return f.id == at.ID, nil
	}
	opened, err := open(f)
	if err != nil {
		return false, err
	}
	defer opened.Close()
	return at.isIn(opened)
}

// open opens f for reading; errMoving says that its name is another file's by now.
func open(f *file) (*os.File, error) {
	step()
	// Without O_NONBLOCK the open of a pipe would wait for its writer.
	opened, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errMoving
	}
	if err != nil {
		return nil, err
	}
	step()
	info, err := opened.Stat()
	if err == nil && describe(f.path, info).id != f.id {
		err = errMoving
	}
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return opened, nil
}
