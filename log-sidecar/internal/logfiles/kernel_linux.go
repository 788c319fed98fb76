package logfiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Writers asks the kernel whether any process has f open for writing; we have it open
// only for reading. It tries to take a lease: fcntl(2) grants a read lease (F_RDLCK)
// while nobody has the file open for writing, and refuses it with EAGAIN while somebody
// has. That covers every process on the machine, in any container and under any name of
// the file, and needs no cooperation by the writer.
//
// The lease is released at once, because a process that opens the file for writing has to
// wait for that.
//
// The answer is known only if a lease may be asked for: not on another user's file
// (EACCES), and not on every file system.
func Writers(f *os.File) (open, known bool) {
	fd := f.Fd()
	_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, err = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
		return false, err == nil
	}
	return true, errors.Is(err, unix.EAGAIN)
}

// NextData returns where data begins at or after offset in f: what lies between is a hole,
// and reads as NULs. It returns size if there is no more.
func NextData(f *os.File, offset, size int64) int64 {
	next, err := unix.Seek(int(f.Fd()), offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return size
	case err != nil:
		return offset // not every file system knows
	}
	return min(next, size)
}

// Stat looks at an open file.
func Stat(f *os.File) (File, error) {
	file, err := statx(int(f.Fd()), "", unix.AT_EMPTY_PATH)
	if err != nil {
		return File{}, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return file, nil
}

func stat(path string, follow bool) (File, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW
	if follow {
		flags = 0
	}
	f, err := statx(unix.AT_FDCWD, path, flags)
	if err != nil {
		return File{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return f, nil
}

func statx(dir int, path string, flags int) (File, error) {
	const mask = unix.STATX_TYPE | unix.STATX_NLINK | unix.STATX_INO | unix.STATX_SIZE | unix.STATX_MTIME | unix.STATX_CTIME |
		unix.STATX_BTIME | unix.STATX_MNT_ID
	var st unix.Statx_t
	for {
		err := unix.Statx(dir, path, flags, mask, &st)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return File{}, err
		}
		break
	}
	ns := func(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }
	f := File{
		ID:       ID{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino},
		Size:     int64(st.Size),
		Modified: ns(st.Mtime),
		Changed:  ns(st.Ctime),
		Deleted:  st.Nlink == 0,
		mount:    st.Mnt_id,
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		f.Born = ns(st.Btime)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		f.mode = fs.ModeSymlink
	default:
		f.mode = fs.ModeIrregular
	}
	return f, nil
}
