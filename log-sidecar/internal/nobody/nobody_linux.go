// Package nobody lets tests see files as another user does.
package nobody

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Do calls f as a user who may read what everybody may, and not ask for leases; dir, a
// temporary one, is made reachable. It skips the test where it may not.
func Do(t *testing.T, dir string, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	for above := filepath.Dir(dir); len(above) > len(filepath.Clean(os.TempDir())); above = filepath.Dir(above) {
		require.NoError(t, os.Chmod(above, 0o755)) //nolint:gosec // nothing in it is secret
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with f
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		err := unix.Capget(&head, &caps[0])
		if err == nil {
			caps[0].Effective &^= 1 << unix.CAP_LEASE
			err = unix.Capset(&head, &caps[0])
		}
		if err == nil {
			err = unix.Setfsuid(65532)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	require.NoError(t, <-done)
}
