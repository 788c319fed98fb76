package logfiles

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sidecar.example/log-sidecar/internal/nobody"
)

// otherVolume returns a directory on another volume than newDir's.
func otherVolume(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "logfiles")
	if err != nil {
		t.Skipf("there is no other volume: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	here, err := stat(t.TempDir(), true)
	require.NoError(t, err)
	there, err := stat(dir, true)
	require.NoError(t, err)
	if here.mount == there.mount {
		t.Skip("/dev/shm is on the volume of the temporary directory")
	}
	return dir
}

func TestLinkOutOfVolumeIsRefused(t *testing.T) {
	outside := otherVolume(t)
	write(t, outside+"/app.log", "secret\n")
	write(t, outside+"/app.log.1", "secret too\n")
	for name, target := range map[string]string{
		"to a file on another volume": outside + "/app.log",
		"to a process's state":        "/proc/self/status",
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDir(t, "access.log.1", "access.log -> "+target)
			listing := list(t, dir+"/access.log")
			assert.Equal(t, []string{"access.log.1"}, names(listing.Files))
			require.Len(t, listing.Troubles, 1)
			require.ErrorIs(t, listing.Troubles[0], errOutside)
			assert.ErrorContains(t, listing.Troubles[0], dir+"/access.log")
		})
	}
}

// The log is on another volume as a whole.
func TestLinkedDirectoryOnAnotherVolume(t *testing.T) {
	outside := otherVolume(t)
	write(t, outside+"/access.log.1", "a\n")
	write(t, outside+"/access.log", "b\n")
	dir := newDir(t, "log -> "+outside)
	listing := list(t, dir+"/log/access.log")
	assert.Equal(t, []string{"access.log.1", "access.log"}, names(listing.Files))
	assert.Empty(t, listing.Troubles)
}

func TestLinkSwitchedOutOfVolumeWhileOpening(t *testing.T) {
	outside := otherVolume(t)
	write(t, outside+"/app.log", "secret\n")
	dir := newDir(t, "app.log", "access.log -> app.log")
	l := New(dir + "/access.log")
	f, err := l.Live()
	require.NoError(t, err)
	require.NoError(t, os.Remove(f.Path))
	require.NoError(t, os.Symlink(outside+"/app.log", f.Path))
	_, err = l.Open(&f)
	require.ErrorIs(t, err, ErrMoved)
}

func TestWriters(t *testing.T) {
	dir := newDir(t, "access.log")
	path := dir + "/access.log"
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	writers := func() [2]bool {
		open, known := Writers(file)
		return [2]bool{open, known}
	}
	if writers() == [2]bool{true, false} {
		t.Skip("the file system of the temporary directory has no leases")
	}
	for range 3 {
		assert.Equal(t, [2]bool{false, true}, writers(), "nobody")
		reader, err := os.Open(path)
		require.NoError(t, err)
		assert.Equal(t, [2]bool{false, true}, writers(), "a reader")
		require.NoError(t, reader.Close())

		writer, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
		require.NoError(t, err, "EAGAIN: the lease was not given back, and every writer waits")
		assert.Equal(t, [2]bool{true, true}, writers(), "a writer")
		require.NoError(t, os.Rename(path, path+".1"))
		assert.Equal(t, [2]bool{true, true}, writers(), "whatever its name is")
		require.NoError(t, os.Rename(path+".1", path))
		require.NoError(t, writer.Close())
	}
	t.Run("of another user's file", func(t *testing.T) {
		known := true
		nobody.Do(t, dir, func() { _, known = Writers(file) })
		assert.False(t, known)
	})
}

func TestHolesAreFound(t *testing.T) {
	const block, size = 1 << 16, 16 << 20
	for _, test := range []struct {
		name         string
		data         []int64 // where a block of data is
		offset, want int64
	}{
		{"no hole", []int64{0}, 0, 0},
		{"in data", []int64{0}, block / 2, block / 2},
		{"at the beginning", []int64{4 << 20}, 0, 4 << 20},
		{"in the middle", []int64{0, 4 << 20}, block, 4 << 20},
		{"in the middle of a hole", []int64{0, 4 << 20}, 2<<20 + 1, 4 << 20},
		{"at the end", []int64{0}, block, size},
		{"nothing else", nil, 0, size},
		{"at the end of the file", nil, size, size},
	} {
		t.Run(test.name, func(t *testing.T) {
			file, err := os.Create(filepath.Join(t.TempDir(), "access.log"))
			require.NoError(t, err)
			defer file.Close()
			require.NoError(t, file.Truncate(size))
			for _, offset := range test.data {
				content := make([]byte, block)
				content[0], content[block-1] = 'a', '\n'
				_, err := file.WriteAt(content, offset)
				require.NoError(t, err)
			}
			if NextData(file, size-1, size) != size {
				t.Skip("the file system of the temporary directory knows of no holes")
			}
			assert.Equal(t, test.want, NextData(file, test.offset, size))
			smaller := (test.offset + test.want) / 2
			assert.LessOrEqual(t, NextData(file, test.offset, smaller), smaller, "it has grown since its size was looked up")
		})
	}
}

func TestTimes(t *testing.T) {
	began := time.Now().Add(-time.Second).UnixNano() // the clock for files is behind by a tick
	dir := newDir(t, "access.log")
	past := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(dir+"/access.log", past, past))
	f, err := New(dir + "/access.log").Live()
	require.NoError(t, err)
	assert.Equal(t, past.UnixNano(), f.Modified)
	assert.Greater(t, f.Changed, began)
	if f.Born == 0 {
		t.Skip("the file system of the temporary directory does not tell of creation")
	}
	assert.Greater(t, f.Born, began)
	assert.Less(t, f.Born, time.Now().UnixNano())
}

func TestDeniedDirectory(t *testing.T) {
	for _, test := range []struct {
		name     string
		mode     os.FileMode
		want     []string
		troubles []string
	}{
		{"it can be entered only", 0o711, []string{"access.log"}, []string{"list the rotated files"}},
		{"it can be listed only", 0o744, nil, []string{"access.log", "list the rotated files"}},
		{"nothing", 0o700, nil, []string{"access.log", "list the rotated files"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := newDir(t, "access.log.1", "access.log")
			require.NoError(t, os.Chmod(dir, test.mode))
			var listing Listing
			nobody.Do(t, dir, func() { listing = New(dir + "/access.log").List(readings) })
			assert.Equal(t, test.want, names(listing.Files))
			assert.False(t, listing.Complete, "what is not listed may still be there")
			require.Len(t, listing.Troubles, len(test.troubles))
			for i, trouble := range test.troubles {
				assert.ErrorContains(t, listing.Troubles[i], trouble)
				assert.ErrorIs(t, listing.Troubles[i], os.ErrPermission)
			}
		})
	}
}

func TestDeniedFileIsListed(t *testing.T) {
	dir := newDir(t, "access.log.1", "access.log")
	l := New(dir + "/access.log")
	var listing Listing
	var err error
	nobody.Do(t, dir, func() {
		if listing = l.List(readings); len(listing.Files) > 0 {
			_, err = l.Open(&listing.Files[0])
		}
	})
	assert.Equal(t, []string{"access.log.1", "access.log"}, names(listing.Files))
	assert.True(t, listing.Complete)
	assert.Empty(t, listing.Troubles)
	require.ErrorIs(t, err, os.ErrPermission)
}
