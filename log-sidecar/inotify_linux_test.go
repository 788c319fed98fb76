package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	asInotifyHog = "TEST_AS_INOTIFY_HOG"
	mostHogged   = 1_000
)

// The test binary is the hog itself: it must be a process of another user.
func init() {
	if os.Getenv(asInotifyHog) != "" {
		hogInotify()
		os.Exit(0)
	}
}

// hogInotify takes every inotify instance that its user may have, says so, and
// keeps them until its stdin ends.
func hogInotify() {
	for range mostHogged {
		if _, err := syscall.InotifyInit1(syscall.IN_CLOEXEC); err != nil {
			fmt.Println(err)
			_, _ = io.Copy(io.Discard, os.Stdin)
			return
		}
	}
	fmt.Println("there are more")
}

// startInotifyHog leaves stranger no inotify instance until the returned function is called.
func startInotifyHog(t *testing.T) (release func()) {
	t.Helper()
	needRoot(t)
	// The test binary stands where only its own user can read it.
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	path := binary + "-hog"
	require.NoError(t, os.WriteFile(path, self, 0o755)) //nolint:gosec // another user must run it
	t.Cleanup(func() { _ = os.Remove(path) })

	hog := exec.Command(path)
	hog.Env = []string{asInotifyHog + "=1", "GORACE=atexit_sleep_ms=0"}
	hog.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	stdin, err := hog.StdinPipe()
	require.NoError(t, err)
	stdout, err := hog.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, hog.Start())
	release = func() {
		_ = stdin.Close()
		_ = hog.Wait()
	}
	t.Cleanup(release)
	said, err := bufio.NewReader(stdout).ReadString('\n')
	require.True(t, err == nil || errors.Is(err, io.EOF), err)
	if said != syscall.EMFILE.Error()+"\n" {
		t.Skipf("the user's inotify instances cannot be used up: %s", said)
	}
	return release
}

func TestWithoutInotifyItPollsAndSaysSo(t *testing.T) {
	release := startInotifyHog(t)
	s := newSite(t, "POLL_INTERVAL=20ms")
	s.runAs(t, stranger)
	s.write(t, "one\n")
	require.NoError(t, os.Chown(s.log, stranger, stranger))
	sc := s.start(t)
	sc.prints(t, "one")
	sc.becomes(t, "polling", func(h report) bool { return h.Watch == "poll" && h.Status == "healthy" })
	require.EqualValues(t, 1, sc.metric(t, "polling"))
	require.Len(t, sc.stderr.messages("polling"), 1)
	s.write(t, "two\n")
	s.rotate(t)
	s.write(t, "three\n")
	sc.prints(t, "one", "two", "three")

	release()
	sc.becomes(t, "inotify", func(h report) bool { return h.Watch == "inotify" })
	require.EqualValues(t, 0, sc.metric(t, "polling"))
	require.Len(t, sc.stderr.messages("polling"), 1, "said once, not at every look")
	s.write(t, "four\n")
	sc.prints(t, "one", "two", "three", "four")
}
