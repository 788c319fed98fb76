package tail

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// step is called before every system call whose result decides something, so that tests
// can put a rename or a kill there.
var step = func() {}

// fileID identifies a file to the kernel.
type fileID struct{ Dev, Ino uint64 }

// A file is one of the files of the log, as it was when listed.
type file struct {
	path    string
	suffix  string // what rotation has added to the log's name
	number  int    // the suffix as a number from 1; 0 if it is not a number
	live    bool   // it is the file at the log's own path
	settled bool   // it was the live one, and its place in the order is final
	id      fileID
	size    int64
	mtime   int64 // Unix time in ns
	born    int64 // creation time, likewise; 0 if the file system does not tell
}

// errMoving means that files are being renamed at this moment: look again soon.
var errMoving = errors.New("files are being rotated")

func describe(path string, info fs.FileInfo) file {
	f := file{path: path, size: info.Size(), mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.id = fileID{Dev: uint64(st.Dev), Ino: st.Ino} //nolint:unconvert // Dev is an int32 on darwin
	}
	return f
}

// list returns the files of the log at path, oldest first: its rotated siblings (such
// as path.1), then the live one, if there is one. A rotation renames several files one
// after another, so list scans until it has seen the same files twice in a row.
func list(path string) ([]file, error) {
	same := func(a, b file) bool { return a.path == b.path && a.id == b.id }
	var before []file
	for i := range 11 {
		files, err := scan(path)
		if err != nil {
			return nil, err
		}
		if i > 0 && slices.EqualFunc(before, files, same) {
			return files, nil
		}
		before = files
	}
	return nil, errMoving
}

// scan lists the files once; if it does so during a rotation, some may be missing.
func scan(path string) ([]file, error) {
	files, err := siblings(path)
	if err != nil {
		return nil, err
	}
	// The target of a symbolic link may be rotated in its own directory.
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
		files[i].settled = !isLink // the link may be switched to one of them next
	}

	live, err := stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// A file with several names is listed once, as the live one if it is that.
	seen := map[fileID]bool{live.id: true}
	files = slices.DeleteFunc(files, func(f file) bool {
		again := seen[f.id]
		seen[f.id] = true
		return again
	})
	if err == nil {
		live.live = true
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

// siblings returns the rotated files of the log at path, in no particular order.
func siblings(path string) (files []file, err error) {
	step()
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		suffix, ok := rotated(base, entry.Name())
		if !ok {
			continue
		}
		f, err := stat(filepath.Join(dir, entry.Name()))
		if slices.ContainsFunc(noFile, func(reason error) bool { return errors.Is(err, reason) }) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f.suffix, f.number, f.born = suffix, rotationNumber(suffix), born(f.path)
		files = append(files, f)
	}
	return files, nil
}

// errIrregular is returned for a directory, a pipe or a device.
var errIrregular = errors.New("is not a regular file")

// noFile lists the errors that mean a name is no log file: it is gone, it is not a
// regular file, or it is a symbolic link that leads nowhere.
var noFile = []error{fs.ErrNotExist, errIrregular, syscall.ELOOP, syscall.ENOTDIR, syscall.ENAMETOOLONG}

// isUnchanged reports whether f is still as listed. The inode number alone would not
// prove it: a new file may have taken both the name and the number.
func (f *file) isUnchanged() bool {
	now, err := stat(f.path)
	return err == nil && now.id == f.id && now.size == f.size && now.mtime == f.mtime && born(f.path) == f.born
}

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

// open opens f for reading. It returns errMoving if f no longer has its name.
func open(f *file) (*os.File, error) {
	step()
	// Without O_NONBLOCK, opening a pipe would wait for its writer.
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
