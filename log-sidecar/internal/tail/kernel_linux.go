package tail

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// writers asks the kernel whether any process has f open for writing; we have it open
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

// born returns the creation time of the file at path, Unix time in ns, or 0 if the file
// system does not know it.
func born(path string) int64 {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &st); err != nil || st.Mask&unix.STATX_BTIME == 0 {
		return 0
	}
	return st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
}
