package logfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every line of these tests is ten bytes long, so that a limit can be said in lines.
func line(i int) string { return fmt.Sprintf("line %04d\n", i) }

func open(t *testing.T, path string, maxBytes int64, maxFiles int) *File {
	t.Helper()
	f, err := Open(path, maxBytes, maxFiles)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// write appends lines from..to, both included.
func (f *File) write(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		require.NoError(t, f.Append([]byte(line(i))))
	}
}

func holds(t *testing.T, path string, from, to int) {
	t.Helper()
	var want strings.Builder
	for i := from; i <= to; i++ {
		want.WriteString(line(i))
	}
	assert.Equal(t, want.String(), read(t, path), filepath.Base(path))
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func files(t *testing.T, path string) []string {
	t.Helper()
	names, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	return names
}

func TestAppendsToWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	first := open(t, path, 0, 8)
	first.write(t, 1, 2)
	require.NoError(t, first.Close())
	require.Error(t, first.Append([]byte(line(3))), "closed")

	open(t, path, 0, 8).write(t, 3, 3)
	holds(t, path, 1, 3)
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "missing", "log"), dir + "/log/"} {
		_, err := Open(path, 0, 8)
		assert.ErrorContains(t, err, path)
	}
}

func TestRotatesBeforeTheFileIsTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := open(t, path, 30, 8)
	f.write(t, 1, 3)
	assert.Equal(t, []string{"log"}, files(t, path), "exactly full is not too large")
	f.write(t, 4, 7)
	holds(t, path+".2", 1, 3)
	holds(t, path+".1", 4, 6)
	holds(t, path, 7, 7)
}

func TestOversizeLineHasItsOwnFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	open(t, path, 5, 8).write(t, 1, 3)
	holds(t, path+".2", 1, 1)
	holds(t, path+".1", 2, 2)
	holds(t, path, 3, 3)
}

func TestLimitOfZeroNeverRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	open(t, path, 0, 2).write(t, 1, 1000)
	assert.Equal(t, []string{"log"}, files(t, path))
}

func TestKeepsAsManyFilesAsItMay(t *testing.T) {
	for maxFiles, want := range map[int][]string{
		1: {"log"},
		2: {"log", "log.1"},
		3: {"log", "log.1", "log.2"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		open(t, path, 30, maxFiles).write(t, 1, 30)
		assert.Equal(t, want, files(t, path))
		holds(t, path, 28, 30)
	}
}

func TestLoweredMaxFilesTakesEffectAtRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := open(t, path, 10, 12)
	f.write(t, 1, 12)
	require.Len(t, files(t, path), 12)
	require.NoError(t, f.Close())

	open(t, path, 10, 3).write(t, 13, 13)
	assert.Equal(t, []string{"log", "log.1", "log.2"}, files(t, path))
	holds(t, path+".2", 11, 11)
	holds(t, path, 13, 13)
}

func TestNextLineGoesToANewFile(t *testing.T) {
	for name, away := range map[string]func(path string) error{
		"after a rename": func(path string) error { return os.Rename(path, path+"-20261122") },
		"after a delete": os.Remove,
		"after a rename and a create": func(path string) error {
			_ = os.Rename(path, path+".1")
			return os.WriteFile(path, nil, 0o600)
		},
		"in a directory made anew": func(path string) error {
			_ = os.RemoveAll(filepath.Dir(path))
			return os.Mkdir(filepath.Dir(path), 0o700)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "dir", "log")
			require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
			f := open(t, path, 100, 8)
			f.write(t, 1, 3)
			require.NoError(t, away(path))
			f.write(t, 4, 5)
			holds(t, path, 4, 5)
		})
	}
}

func TestFullFileAfterRenameIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := open(t, path, 20, 8)
	f.write(t, 1, 1)
	require.NoError(t, os.Rename(path, path+".old"))
	require.NoError(t, os.WriteFile(path, []byte(line(2)+line(3)), 0o600))
	f.write(t, 4, 4)
	holds(t, path+".1", 2, 3)
	holds(t, path, 4, 4)
}

// copytruncate: O_APPEND makes the next line start at the new end, not after a
// hole, and the room that was won is used before the next rotation.
func TestGoesOnInATruncatedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := open(t, path, 30, 8)
	f.write(t, 1, 2)
	require.NoError(t, os.Truncate(path, 0))
	f.write(t, 3, 5)
	holds(t, path, 3, 5)
	assert.Equal(t, []string{"log"}, files(t, path))
}

func TestEndsALineThatWasCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(path, []byte(line(1)+"lin"), 0o600))
	open(t, path, 0, 8).write(t, 2, 2)
	assert.Equal(t, line(1)+"lin\n"+line(2), read(t, path))
}

// A directory that is not empty stands where the oldest file would be removed:
// an error that a test can make as root, too.
func TestFailedRotationKeepsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := open(t, path, 20, 2)
	f.write(t, 1, 2)
	require.NoError(t, os.MkdirAll(path+".1/in-the-way", 0o700))
	require.ErrorContains(t, f.Append([]byte(line(3))), "rotate: ")
	holds(t, path, 1, 2)

	require.NoError(t, os.RemoveAll(path+".1"))
	f.write(t, 4, 4)
	holds(t, path+".1", 1, 2)
	holds(t, path, 4, 4)
}

func TestConcurrentLinesAreWholeAndAllThere(t *testing.T) {
	const writers, each, maxBytes = 8, 500, 40 * 10
	path := filepath.Join(t.TempDir(), "log")
	f := open(t, path, maxBytes, 1000)
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for i := range each {
				assert.NoError(t, f.Append([]byte(line(w*each+i))))
			}
		})
	}
	running.Wait()

	seen := make(map[string]int)
	for _, name := range files(t, path) {
		content := read(t, filepath.Join(filepath.Dir(path), name))
		assert.LessOrEqual(t, len(content), maxBytes)
		for l := range strings.Lines(content) {
			seen[l]++
		}
	}
	assert.Len(t, seen, writers*each)
	for i := range writers * each {
		assert.Equal(t, 1, seen[line(i)], line(i))
	}
}
