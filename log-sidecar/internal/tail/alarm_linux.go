package tail

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An alarm does what a time.Timer does, with fewer threads woken. The runtime keeps
// its timers by a timeout of the thread that waits for files to be ready, which the
// kernel may stretch, and its monitor thread wakes for each as well and looks on
// every 20 microseconds until somebody has taken it. A timerfd is one more file that
// gets ready: an idle sidecar switches threads a fifth as often for it.
type alarm struct {
	C    chan struct{}
	fd   int
	file *os.File // of fd, for the runtime to wait on
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create a timer: %w", err)
	}
	a := &alarm{C: make(chan struct{}, 1), fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}
	go func() {
		var expirations [8]byte
		for {
			if _, err := a.file.Read(expirations[:]); err != nil {
				return // closed
			}
			select {
			case a.C <- struct{}{}:
			default:
			}
		}
	}()
	return a, nil
}

// Reset has C ready after d. What is left of an earlier Reset is dropped, but for
// what is on its way this very moment: that comes early.
func (a *alarm) Reset(d time.Duration) {
	select {
	case <-a.C:
	default:
	}
	after := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))} // 0 would stop it
	_ = unix.TimerfdSettime(a.fd, 0, &after, nil)                          // fails for an invalid time only
}

func (a *alarm) Close() error { return a.file.Close() }
