package logfiles

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"sidecar.example/log-sidecar/internal/nobody"
)

func TestLinkOutOfVolumeIsRefused(t *testing.T) {
	outside, err := os.MkdirTemp("/dev/shm", "logfiles")
	if err != nil {
		t.Skipf("there is no other volume: %v", err)
	}
	defer os.RemoveAll(outside)
	makeFiles(t, outside, "access.log.1 access.log")
	var here, there unix.Stat_t
	require.NoError(t, errors.Join(unix.Stat(t.TempDir(), &here), unix.Stat(outside, &there)))
	if here.Dev == there.Dev {
		t.Skip("/dev/shm is on the volume of the temporary directory")
	}
	refused := " " + errOutside.Error()
	for _, test := range []listingTest{
		{"a file on another volume", "access.log", "access.log.2 access.log->" + outside + "/access.log", "access.log.2", refused},
		{"a process's state", "access.log", "access.log.2 access.log->/proc/self/status", "access.log.2", refused},
		{"a log on another volume as a whole", "log/access.log", "log->" + outside, "access.log.1 access.log", ""},
	} {
		t.Run(test.name, test.run)
	}
}

func TestWriters(t *testing.T) {
	dir := newDir(t, "access.log")
	file, err := os.Open(dir + "/access.log")
	require.NoError(t, err)
	defer file.Close()
	if open, known := Writers(file); open && !known {
		t.Skip("the file system of the temporary directory has no leases")
	}
	wantWriters := func(want bool, when string) {
		t.Helper()
		open, known := Writers(file)
		assert.True(t, known, when)
		assert.Equal(t, want, open, when)
	}
	wantWriters(false, "nobody")
	reader, err := os.Open(file.Name())
	require.NoError(t, err)
	wantWriters(false, "a reader")
	require.NoError(t, reader.Close())
	writer, err := os.OpenFile(file.Name(), os.O_WRONLY|unix.O_NONBLOCK, 0)
	require.NoError(t, err, "EAGAIN: the lease was not given back, and every writer waits")
	wantWriters(true, "a writer")
	require.NoError(t, os.Rename(file.Name(), dir+"/access.log.1"))
	wantWriters(true, "a writer, whatever its name is")
	require.NoError(t, writer.Close())
	wantWriters(false, "nobody any more")

	t.Run("of another user's file", func(t *testing.T) {
		known := true
		nobody.Do(t, dir, func() { _, known = Writers(file) })
		assert.False(t, known)
	})
}

func TestHolesAreFound(t *testing.T) {
	const block, mib, size = 1 << 16, 1 << 20, 16 << 20
	file, err := os.Create(t.TempDir() + "/access.log")
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, file.Truncate(size))
	for _, data := range []int64{4 * mib, 8 * mib} {
		_, err := file.WriteAt(make([]byte, block), data)
		require.NoError(t, err)
	}
	if _, err := unix.Seek(int(file.Fd()), size-1, unix.SEEK_DATA); !errors.Is(err, unix.ENXIO) {
		t.Skip("the file system of the temporary directory knows of no holes")
	}
	for offset, want := range map[int64]int64{
		0:             4 * mib,   // a hole at the beginning
		4 * mib:       4 * mib,   // data
		4*mib + 1:     4*mib + 1, // in data
		4*mib + block: 8 * mib,   // a hole in the middle
		6*mib + 1:     8 * mib,   // in a hole
		8*mib + block: size,      // a hole at the end
		size:          size,      // the end
	} {
		assert.Equal(t, want, NextData(file, offset, size), offset)
		smaller := (offset + want) / 2
		assert.LessOrEqual(t, NextData(file, offset, smaller), smaller, "it has grown since its size was looked up")
	}
}

func TestFileAttributes(t *testing.T) {
	began := time.Now().Add(-time.Second) // the clock for files is behind by a tick
	path := newDir(t, "access.log") + "/access.log"
	past := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, past, past))
	var want unix.Stat_t
	require.NoError(t, unix.Stat(path, &want))
	l := New(path)
	f, err := l.Live()
	require.NoError(t, err)
	assert.Equal(t, ID{Dev: want.Dev, Ino: want.Ino}, f.ID)
	assert.Equal(t, want.Size, f.Size)
	assert.Equal(t, past.UnixNano(), f.Modified)
	assert.WithinRange(t, time.Unix(0, f.Changed), began, time.Now())
	require.NoError(t, os.Truncate(path, 5))
	now, err := l.Again(&f, nil)
	require.NoError(t, err)
	assert.EqualValues(t, 5, now.Size)
	opened, err := l.Open(&f)
	require.NoError(t, err)
	defer opened.Close()
	require.NoError(t, os.Remove(path))
	now, err = l.Again(&f, opened)
	require.NoError(t, err)
	assert.True(t, now.Deleted)
	if f.Born == 0 {
		t.Skip("the file system of the temporary directory does not tell of creation")
	}
	assert.WithinRange(t, time.Unix(0, f.Born), began, time.Now())
}

func TestDeniedFilesAreTold(t *testing.T) {
	for _, test := range []struct {
		denied         string
		dir            os.FileMode
		want, troubles []string
	}{
		{"only the files", 0o755, []string{"access.log.1", "access.log"}, nil},
		{"to list the directory", 0o711, []string{"access.log"}, []string{"list the rotated files"}},
		{"to enter the directory", 0o744, nil, []string{"access.log", "list the rotated files"}},
		{"everything", 0o700, nil, []string{"access.log", "list the rotated files"}},
	} {
		dir := newDir(t, "access.log.1 access.log")
		require.NoError(t, os.Chmod(dir, test.dir))
		l := New(dir + "/access.log")
		var listing Listing
		nobody.Do(t, dir, func() {
			listing = l.List(readings)
			for _, f := range listing.Files {
				_, err := l.Open(f)
				assert.ErrorIs(t, err, os.ErrPermission, test.denied)
			}
		})
		assert.Equal(t, test.want, names(listing.Files), test.denied)
		assert.Equal(t, test.troubles == nil, listing.Complete, "what is not listed may still be there")
		require.Len(t, listing.Troubles, len(test.troubles), test.denied)
		for i, trouble := range test.troubles {
			assert.ErrorContains(t, listing.Troubles[i], trouble, test.denied)
			assert.ErrorIs(t, listing.Troubles[i], os.ErrPermission, test.denied)
		}
	}
}
