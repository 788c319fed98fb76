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
	// fastPart is the most that goes into one write. Half of it would cost a tenth of the
	// speed; with it a reader of 32 KB/s is seen to read every second from the start.
	fastPart = 32 << 10

	// slowPart is that for a reader that has kept a write waiting for slowAfter. A pipe
	// takes as much (PIPE_BUF) whole or not at all: no record up to there is torn by the
	// end of the program.
	slowPart  = 4 << 10
	slowAfter = 10 * time.Millisecond
)

// A pacedWriter writes in parts, so that a slow reader can be told from one that does not
// read at all. A part ends with a record, unless that is longer.
type pacedWriter struct {
	w        io.Writer
	slow     bool         // owned by the goroutine that writes
	accepted atomic.Int64 // bytes, by w
}

func (w *pacedWriter) Write(b []byte) (written int, err error) {
	for written < len(b) && err == nil {
		part, size := b[written:], fastPart
		if w.slow {
			size = slowPart
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
		w.slow = time.Since(began) > slowAfter
		w.accepted.Add(int64(n))
		written += n
	}
	return written, err
}
