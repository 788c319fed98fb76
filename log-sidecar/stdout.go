package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sidecar.example/log-sidecar/internal/logfiles"
)

// errStdoutClosed is returned before anything is followed, because what is printed into
// the void counts as printed.
var errStdoutClosed = errors.New("stdout is closed: want a pipe or a file that takes the records")

// stdoutIsClosed reports whether the program was started without a stdout, as by >&-.
// The Go runtime has put /dev/null in its place, which takes everything, and nothing
// is left to tell but that it opens that for reading too: a shell's >/dev/null is for
// writing only, and stays allowed. (Python's DEVNULL is as the runtime's, and refused.)
func stdoutIsClosed() bool {
	stdout, err := os.Stdout.Stat()
	if err != nil {
		return errors.Is(err, syscall.EBADF)
	}
	null, err := os.Stat(os.DevNull)
	if err != nil || !os.SameFile(stdout, null) {
		return false
	}
	// Not by os.Stdout.Fd, which may change the flags that others share.
	flags, err := unix.FcntlInt(uintptr(syscall.Stdout), unix.F_GETFL, 0)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDWR
}

// stdoutIsLog reports whether stdout is a file of the log at path: then each record would be
// one more line to print, for ever.
func stdoutIsLog(path string) bool {
	stdout, err := os.Stdout.Stat()
	if err != nil || !stdout.Mode().IsRegular() { // as in a Pod, where there is no directory to be read for this
		return false
	}
	log := logfiles.New(path)
	for _, dir := range log.Dirs() {
		entries, _ := os.ReadDir(dir) // it may come
		for _, entry := range entries {
			if !log.Has(entry.Name()) {
				continue
			}
			if info, err := entry.Info(); err == nil && os.SameFile(info, stdout) {
				return true
			}
		}
	}
	return false
}

// blockingWriter makes every Write block until all is written, even if another process
// has made the pipe or terminal non-blocking: the flag is shared by all who have it open.
type blockingWriter struct{ file *os.File }

func (w blockingWriter) Write(b []byte) (n int, err error) {
	for {
		written, err := w.file.Write(b[n:])
		n += written
		if !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
		room := []unix.PollFd{{Fd: int32(w.file.Fd()), Events: unix.POLLOUT}}
		if _, err := unix.Poll(room, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return n, fmt.Errorf("poll %s: %w", w.file.Name(), err)
		}
	}
}

const (
	// smallPart is as much as a pipe takes whole or not at all (PIPE_BUF): no record up to
	// there is torn by the end of the program.
	smallPart = 4 << 10

	// largePart is the most that goes into one write. Half of it would cost a twentieth of
	// the speed.
	largePart = 64 << 10

	// A reader is quick that keeps no write waiting for slowAfter, for each smallPart in it,
	// while it is given quickAfter, more than a pipe or a socket holds unread.
	slowAfter  = 10 * time.Millisecond
	quickAfter = 512 << 10
)

// A pacedWriter writes in parts, and in small ones until the reader is seen to be quick: so
// a slow one can be told from one that does not read at all. A part ends with a record,
// unless that is longer.
type pacedWriter struct {
	w        io.Writer
	quick    int          // bytes since a write was kept waiting; owned by the goroutine that writes
	accepted atomic.Int64 // bytes, by w
}

func (w *pacedWriter) Write(b []byte) (written int, err error) {
	for written < len(b) && err == nil {
		part, size := b[written:], smallPart
		if w.quick >= quickAfter {
			size = largePart
		}
		if len(part) > size {
			end := bytes.LastIndexByte(part[:size], '\n') + 1
			if end == 0 {
				end = size
			}
			part = part[:end]
		}
		var n int
		began := time.Now()
		n, err = w.w.Write(part)
		w.quick = min(w.quick+n, quickAfter)
		if time.Since(began) > slowAfter*time.Duration((n+smallPart-1)/smallPart) {
			w.quick = 0
		}
		w.accepted.Add(int64(n))
		written += n
	}
	return written, err
}
