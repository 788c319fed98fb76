package tail

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// writers asks the kernel whether any process has f, which we have open for
// reading, open for writing. It does so with a lease: fcntl(2) grants a read
// lease (F_RDLCK) on a file only while nobody has it open for writing, and
// refuses it with EAGAIN while somebody has. That holds for every process on the
// machine, in whatever container, and under whatever name the file has by now;
// no agreement between the writer and us is needed.
//
// The lease is given back at once, because a process that opens the file for
// writing meanwhile has to wait for it.
//
// The answer is known only where the question may be asked: not of another
// user's file (EACCES), and not on every file system.
func writers(f *os.File) (open, known bool) {
	step()
	fd := f.Fd()
	_, err := unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_RDLCK)
	if err == nil {
		_, err = unix.FcntlInt(fd, unix.F_SETLEASE, unix.F_UNLCK)
		return false, err == nil
	}
	return true, errors.Is(err, unix.EAGAIN)
}

// born returns when the file at path was made, in ns since 1970, or 0 where the
// file system does not know.
func born(path string) int64 {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}
