package tail

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/nobody"
)

func TestEACCESForAWhile(t *testing.T) {
	for denied, test := range map[string]struct {
		file     string // what is said of the live one
		from, to int    // which lines are printed meanwhile
	}{
		"access.log":   {failing, 0, 5},
		"access.log.1": {atEnd, 5, 10},
		".":            {failing, 0, 0},
	} {
		t.Run(denied, func(t *testing.T) {
			s, w := newLog(t, 0)
			w.some(5)
			w.rotate()
			w.some(5)
			s.start()
			path := filepath.Join(s.dir, denied)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.NoError(t, os.Chmod(path, 0))
			nobody.Do(t, s.dir, func() {
				for range 3 {
					_, err := s.tailer.look()
					require.NoError(t, err)
				}
			})
			status := s.tailer.Status()
			require.Equal(t, test.file, status.File)
			require.Contains(t, strings.Join(status.Troubles, "; "), "permission denied")
			require.Contains(t, s.log.String(), "permission denied")
			s.want(w.lines[test.from:test.to])
			require.NoError(t, os.Chmod(path, info.Mode()))
			w.some(5)
			// It is finished as somebody who can see that the file has no writer.
			s.look()
			s.want(slices.Concat(w.lines[test.from:test.to], w.lines[:test.from], w.lines[test.to:]))
			require.Empty(t, s.tailer.Status().Troubles)
		})
	}
}

// Where the directory cannot be listed, nothing tells what has become of the file.
func TestUnreadableFileIsMovedUnseen(t *testing.T) {
	s, w := newLog(t, 0)
	w.some(5)
	w.rotate()
	w.some(5)
	s.start()
	require.NoError(t, os.Chmod(s.path+".1", 0))
	nobody.Do(t, s.dir, s.look)
	require.NoError(t, os.Chmod(s.dir, 0o711)) //nolint:gosec // it is what is tested
	require.NoError(t, os.Rename(s.path+".1", s.path+".2"))
	w.some(5)
	before := s.tailer.Status().LastLook
	nobody.Do(t, s.dir, func() {
		_, err := s.tailer.look()
		require.NoError(t, err)
	})
	s.want(w.lines[5:])
	require.Greater(t, s.tailer.Status().LastLook, before)
	require.NoError(t, os.Chmod(s.dir, 0o755))       //nolint:gosec // it is for others
	require.NoError(t, os.Chmod(s.path+".2", 0o644)) //nolint:gosec // likewise
	s.look()
	s.want(append(w.lines[5:15:15], w.lines[:5]...))
	require.Empty(t, s.tailer.Status().Troubles)
	require.Zero(t, s.tailer.Status().Gaps)
}

func TestQuietFileIsClosedWithoutLease(t *testing.T) {
	s, w := newLog(t, 0)
	w.some(5)
	s.start()
	nobody.Do(t, s.dir, func() { s.look() })
	w.rotate()
	w.some(5)
	nobody.Do(t, s.dir, func() { s.look() })
	s.want(w.lines)
	require.Len(t, s.tailer.Status().Held, 1) // nobody has it open, but that is not to be known
	quiet := time.Now().Add(-quietFor)
	require.NoError(t, os.Chtimes(s.path+".1", quiet, quiet))
	nobody.Do(t, s.dir, func() {
		s.lookUntil("it is at rest", func() bool { return len(s.tailer.Status().Held) == 0 })
	})
}

// inNamespaces reports whether the test runs in namespaces of its own, in which it may
// mount and has limits of inotify that are not the whole machine's. If not, it runs the
// test again as a process that does.
func inNamespaces(t *testing.T) bool {
	t.Helper()
	const variable = "TAIL_TEST_NAMESPACE"
	if os.Getenv(variable) != "" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if len(out) == 0 && err != nil {
		t.Skipf("no user namespace is to be had: %v", err)
	}
	require.NoError(t, err, string(out))
	return false
}

// What was printed meanwhile is saved with the next batch.
func TestStateIsSavedOnceTheDiskHasRoom(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	s, w := newLog(t, 0)
	if err := syscall.Mount("tmpfs", s.cfg.StateDir, "tmpfs", 0, "size=8k"); err != nil {
		t.Skipf("nothing can be mounted: %v", err)
	}
	defer func() { require.NoError(t, syscall.Unmount(s.cfg.StateDir, syscall.MNT_DETACH)) }()
	filler := filepath.Join(s.cfg.StateDir, "filler")
	require.ErrorIs(t, os.WriteFile(filler, make([]byte, 1<<20), 0o600), syscall.ENOSPC)
	w.some(5)
	s.prints(w)
	require.Contains(t, s.log.String(), "a position cannot be saved")
	require.NoError(t, os.Remove(filler))
	w.some(5)
	s.prints(w)
	s.kill()
	s.prints(w)
}

func TestSingleFileMountIsPolled(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	s, w := newLog(t, 0)
	mounted := filepath.Join(t.TempDir(), "mounted.log")
	require.NoError(t, os.WriteFile(mounted, nil, 0o600))
	if err := syscall.Mount(s.path, mounted, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("nothing can be mounted: %v", err)
	}
	s.cfg.Path = mounted
	s.run()
	for range 3 {
		w.some(5)
		s.wantSoon(w.lines)
	}
	require.True(t, s.tailer.Status().Polling)
	require.Contains(t, s.log.String(), "no file events: polling")
	require.NoError(t, syscall.Unmount(mounted, syscall.MNT_DETACH))
	s.eventually("events are had", func() bool { return !s.tailer.Status().Polling })
}

func TestWithoutInotifyItPollsAndSaysSo(t *testing.T) {
	if !inNamespaces(t) {
		return
	}
	for _, of := range []string{"instances", "watches"} {
		t.Run(of, func(t *testing.T) {
			limit := "/proc/sys/user/max_inotify_" + of
			if err := os.WriteFile(limit, []byte("0"), 0); err != nil {
				t.Skipf("the limit cannot be set: %v", err)
			}
			s, w := newLog(t, 0)
			s.run()
			for range 3 {
				w.some(5)
				w.rotate()
				w.some(5)
				s.wantSoon(w.lines)
			}
			require.True(t, s.tailer.Status().Polling)
			require.Contains(t, s.log.String(), "no file events: polling")

			require.NoError(t, os.WriteFile(limit, []byte("100"), 0))
			s.eventually("events are had", func() bool { return !s.tailer.Status().Polling })
			require.Contains(t, s.log.String(), "watching the log's directory again")
			w.some(5)
			s.wantSoon(w.lines)
		})
	}
}
