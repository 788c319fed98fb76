package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What it has to say at the end nobody can read, and end it does.
func TestStderrIsBlockedDuringTheDrain(t *testing.T) {
	s := newSite(t)
	s.write(t, "one\n")
	full, w, err := os.Pipe()
	require.NoError(t, err)
	defer full.Close()
	defer w.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	require.NoError(t, err)
	sc := &sidecar{cmd: s.command()}
	sc.cmd.Stderr = w
	sc.startWith(t, out)
	eventually(t, "the record", func() bool {
		printed, err := os.ReadFile(out.Name())
		return err == nil && len(printed) > 0
	})
	_, err = full.Read(make([]byte, 4096)) // what it said at its start
	require.NoError(t, err)
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, size))
	require.NoError(t, err)
	sc.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, sc.exits(t))
}
