package wake

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// An alarm is a time.Timer that wakes fewer threads. The runtime implements timers as a
// timeout of the thread that waits for files to become ready, which the kernel may
// stretch; its monitor thread wakes up for each as well, and polls every 20 microseconds
// until it is handled. A timerfd is just one more file that becomes ready: with it an
// idle sidecar makes a fifth of the context switches.
type alarm struct {
	C    chan struct{}
	fd   int
	file *os.File // wraps fd, so that the runtime waits for it
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

// Reset makes C ready after d. It discards a pending expiry of an earlier Reset; one
// being sent at this very moment gets through, and C is ready early.
func (a *alarm) Reset(d time.Duration) {
	select {
	case <-a.C:
	default:
	}
	after := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(d, 1)))} // 0 would stop it
	_ = unix.TimerfdSettime(a.fd, 0, &after, nil)                          // fails only for an invalid time
}

func (a *alarm) Close() error { return a.file.Close() }
