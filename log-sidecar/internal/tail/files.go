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
	path  string
	live  bool // it is what the log's own path names; else a rotated sibling
	id    fileID
	size  int64
	mtime int64 // ns since 1970
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
	step()
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []file
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
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b file) int { return byAge(a, b, len(path)) })

	live, err := stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	if err != nil {
		return nil, err
	}
	live.live = true
	// A symbolic link can name one of the siblings; then that one is the live one.
	files = slices.DeleteFunc(files, func(f file) bool { return f.id == live.id })
	return append(files, live), nil
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

// byAge orders two siblings, the older one first. Their names say it best: path.2
// is older than path.1, and dates such as path-20261122 sort as text (logrotate
// asks for formats that do). The time of the last write decides between other
// names; alone it would not do, because a writer may still be writing to an older
// file. prefix is the length of the log's own path.
func byAge(a, b file, prefix int) int {
	suffixA, suffixB := a.path[prefix+1:], b.path[prefix+1:]
	numberA, okA := rotationNumber(suffixA)
	numberB, okB := rotationNumber(suffixB)
	switch {
	case okA && okB:
		return cmp.Compare(numberB, numberA)
	case !okA && !okB && len(suffixA) == len(suffixB):
		return cmp.Compare(suffixA, suffixB)
	default:
		return cmp.Or(cmp.Compare(a.mtime, b.mtime), cmp.Compare(suffixA, suffixB))
	}
}

// rotationNumber is the 1 of path.1. More than five digits are a date.
func rotationNumber(suffix string) (int, bool) {
	n, err := strconv.Atoi(suffix)
	return n, err == nil && len(suffix) <= 5
}

// locate answers the question that all of following a log comes down to: which
// of its files (oldest first, as list gives them) holds the checkpoint, and which
// come after it? A rename while running, rotations while down, copytruncate, a
// reused inode, a rewrite in place and a switched symbolic link differ only in
// the answer. The holder is nil where there is none.
//
//   - The file with the checkpoint's identity and content holds it, under
//     whatever name it has now.
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
		if files[i].id != at.ID {
			continue
		}
		if ok, err := holds(&files[i], at); err != nil || ok {
			return &files[i], files[i+1:], err
		}
		truncated = true
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
