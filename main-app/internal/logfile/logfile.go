// Package logfile appends whole lines to a file and rotates it by rename, so that a
// program following it can keep up: each line is one write(2) to a file opened with
// O_APPEND, so it is never split, interleaved or overwritten; and the old file is
// complete before the new one exists.
package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// patience is how long a line waits for the reader of a pipe: long enough for the kernel
	// to see that there is room, and too short to hold up who waits for the line.
	patience = 10 * time.Millisecond

	// unread is after how long a pipe that takes nothing has no reader.
	unread = time.Second
)

// File is a log file, safe for concurrent use.
type File struct {
	path     string
	maxBytes int64 // 0 never rotates
	maxFiles int   // including the live one

	mu   sync.Mutex // protects following
	file *os.File
	id   syscall.Stat_t // of file; its device and inode identify it
	owed []byte         // to a pipe: the rest of the line before

	taken time.Time // when a pipe last took something
}

// Open opens the file at path for appending. It creates the file if it is missing, but
// not its directory, which must be writable for the rotation: before a line would make
// the file larger than maxBytes, the file becomes path.1, an older path.1 becomes
// path.2, and so on; maxFiles are kept. If path is a symbolic link, it stays one, and
// the file that it leads to is rotated where that is; that of /dev/stdout is not rotated.
func Open(path string, maxBytes int64, maxFiles int) (*File, error) {
	f := &File{path: path, maxBytes: maxBytes, maxFiles: maxFiles}
	if err := f.open(); err != nil {
		return nil, err
	}
	if leadsToStdout(f.file, path) {
		f.maxBytes = 0
	}
	if !f.isRegular() || f.maxBytes == 0 {
		return f, nil
	}
	const writable = 2 // W_OK
	target, err := filepath.EvalSymlinks(path)
	if err == nil {
		err = syscall.Access(filepath.Dir(target), writable)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("rotate in %s: %w", filepath.Dir(path), err), f.Close())
	}
	return f, nil
}

// leadsToStdout reports whether path is a link such as /dev/stdout: whatever the file is
// renamed to, that goes on leading to it.
func leadsToStdout(file *os.File, path string) bool {
	link, err := os.Lstat(path)
	if err != nil || link.Mode()&fs.ModeSymlink == 0 {
		return false
	}
	info, err := file.Stat()
	for _, stream := range []*os.File{os.Stdout, os.Stderr} {
		if open, openErr := stream.Stat(); err == nil && openErr == nil && os.SameFile(info, open) {
			return true
		}
	}
	return false
}

// Append writes line, which must end in \n, with one write(2). An error means that this
// line, and no other, is missing from the file.
func (f *File) Append(line []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.prepare(int64(len(line))); err != nil {
		return err
	}
	if !f.isRegular() {
		return f.pipe(line)
	}
	n, err := f.file.Write(line)
	if err != nil && n > 0 { // a full disk can accept part of the line
		err = errors.Join(err, f.takeBack(int64(n)))
	}
	return err
}

// pipe writes line to a pipe. What a full one has no room for of a line that it has begun to
// take comes before the next line.
func (f *File) pipe(line []byte) error {
	if len(f.owed) > 0 {
		n, err := f.offer(f.owed)
		if f.owed = f.owed[n:]; err != nil {
			return err
		}
	}
	n, err := f.offer(line)
	if n == 0 {
		return err
	}
	f.owed = slices.Clone(line[n:])
	return nil
}

// offer writes what the pipe has room for, and returns how much that was. It waits for a reader,
// but for none that reads nothing: all lines would wait in line for each other.
func (f *File) offer(b []byte) (n int, err error) {
	conn, err := f.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	write := func(fd uintptr) (done bool) {
		for err = nil; n < len(b) && (err == nil || errors.Is(err, syscall.EINTR)); {
			var more int
			more, err = syscall.Write(int(fd), b[n:])
			n += max(more, 0)
		}
		return !errors.Is(err, syscall.EAGAIN)
	}
	// The first try has no deadline: on a busy machine it may be over before that.
	_ = f.file.SetWriteDeadline(time.Time{}) // fails if writes do not wait
	if closed := conn.Write(func(fd uintptr) bool { _ = write(fd); return true }); closed != nil {
		return 0, closed
	}
	if errors.Is(err, syscall.EAGAIN) && time.Since(f.taken) < unread {
		_ = f.file.SetWriteDeadline(time.Now().Add(patience))
		_ = conn.Write(write) // err says what came of it
	}
	if n > 0 {
		f.taken = time.Now()
	}
	if errors.Is(err, syscall.EAGAIN) {
		err = os.ErrDeadlineExceeded
	}
	if err != nil {
		err = &fs.PathError{Op: "write", Path: f.path, Err: err}
	}
	return n, err
}

// isRegular reports whether f is no terminal or pipe.
func (f *File) isRegular() bool { return f.id.Mode&syscall.S_IFMT == syscall.S_IFREG }

// Close closes the file; Append fails afterwards.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}

// prepare makes f.file the file that a line of n bytes belongs in: a new one if another
// program (logrotate) has renamed or deleted ours, or if ours is full. It checks each
// time, because the first line after a rename must go to the new file; the bare stat(2)
// costs 0.4 µs and, unlike os.Stat, hardly any garbage.
func (f *File) prepare(n int64) error {
	var now syscall.Stat_t
	switch err := syscall.Stat(f.path, &now); {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return &fs.PathError{Op: "stat", Path: f.path, Err: err}
	case err != nil || now.Dev != f.id.Dev || now.Ino != f.id.Ino:
		if err := f.open(); err != nil {
			return err
		}
		now = f.id
	}
	if f.maxBytes > 0 && now.Size > 0 && now.Size+n > f.maxBytes {
		return f.rotate()
	}
	return nil
}

// open opens the file now at the path, and only then closes the previous one.
func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	info, err := endLine(file)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	before := f.file
	f.file, f.id, f.owed, f.taken = file, *info.Sys().(*syscall.Stat_t), nil, time.Now()
	if before != nil {
		return before.Close()
	}
	return nil
}

// rotate renames every file to the next number, oldest first so that none is
// overwritten, and removes those beyond maxFiles. It goes by the names that exist, so
// that a lowered maxFiles takes effect as well, and around directories, which are
// somebody else's and could be neither overwritten nor removed.
func (f *File) rotate() error {
	path, err := filepath.EvalSymlinks(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("rotate: %w", err)
	}
	var names []string // the live file's, those of the rotated ones, and the next that is free
	for i := 0; err == nil; i++ {
		name := path
		if i > 0 {
			name += "." + strconv.Itoa(i)
		}
		var info fs.FileInfo
		if info, err = os.Lstat(name); err != nil || !info.IsDir() {
			names = append(names, name)
		}
	}
	for i := len(names) - 2; i >= 0; i-- {
		if i+1 >= f.maxFiles {
			err = os.Remove(names[i])
		} else {
			err = os.Rename(names[i], names[i+1])
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate: %w", err)
		}
	}
	return f.open()
}

// takeBack removes the n bytes written of a line that did not fit, so that the file
// holds whole lines only.
func (f *File) takeBack(n int64) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	return f.file.Truncate(info.Size() - n)
}

// endLine terminates a line that a crash has cut short, so that the next one does not
// run into it, and returns the file's info afterwards.
func endLine(file *os.File) (fs.FileInfo, error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return info, err
	}
	var last [1]byte
	if _, err := file.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return info, err
	}
	if _, err := file.Write([]byte("\n")); err != nil {
		return nil, err
	}
	return file.Stat()
}
