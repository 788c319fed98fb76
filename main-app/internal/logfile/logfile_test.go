package logfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lines returns the lines from..to, both included. Each is ten bytes long, so that a
// limit can be said in lines.
func lines(from, to int) string {
	var text strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&text, "line %04d\n", i)
	}
	return text.String()
}

// newPath returns the path of a log in a new directory with these files, by their names.
func newPath(t *testing.T, contents map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dir")
	require.NoError(t, os.Mkdir(dir, 0o700))
	for name, content := range contents {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return filepath.Join(dir, "log")
}

// isDirectory stands for the content of one.
const isDirectory = "(a directory)"

// files returns the contents of the log's directory, by the names of the files.
func files(t *testing.T, path string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Dir(path) + "/*")
	require.NoError(t, err)
	contents := map[string]string{}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if errors.Is(err, syscall.EISDIR) {
			content, err = []byte(isDirectory), nil
		}
		require.NoError(t, err)
		contents[filepath.Base(name)] = string(content)
	}
	return contents
}

func open(t *testing.T, path string, maxBytes int64, maxFiles int) *File {
	t.Helper()
	f, err := Open(path, maxBytes, maxFiles)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// write appends the lines from..to.
func (f *File) write(t *testing.T, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		require.NoError(t, f.Append([]byte(lines(i, i))))
	}
}

func TestOpenRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "missing", "log"), dir + "/log/"} {
		_, err := Open(path, 0, 8)
		assert.ErrorContains(t, err, path)
	}
}

func TestFilesAfterAppends(t *testing.T) {
	for _, test := range []struct {
		name     string
		before   map[string]string
		maxBytes int64
		maxFiles int
		from, to int
		after    map[string]string
	}{
		{"what is there stays", map[string]string{"log": lines(1, 2)}, 0, 8, 3, 3, map[string]string{"log": lines(1, 3)}},
		{"a line that was cut short is ended", map[string]string{"log": lines(1, 1) + "lin"}, 0, 8, 2, 2,
			map[string]string{"log": lines(1, 1) + "lin\n" + lines(2, 2)}},
		{"exactly full is not too large", nil, 30, 8, 1, 3, map[string]string{"log": lines(1, 3)}},
		{"rotated before it is too large", nil, 30, 8, 1, 7, map[string]string{"log": lines(7, 7), "log.1": lines(4, 6), "log.2": lines(1, 3)}},
		{"a line too large has its own file", nil, 5, 8, 1, 3, map[string]string{"log": lines(3, 3), "log.1": lines(2, 2), "log.2": lines(1, 1)}},
		{"a limit of zero never rotates", nil, 0, 2, 1, 1000, map[string]string{"log": lines(1, 1000)}},
		{"one file is kept", nil, 30, 1, 1, 30, map[string]string{"log": lines(28, 30)}},
		{"two files are kept", nil, 30, 2, 1, 30, map[string]string{"log": lines(28, 30), "log.1": lines(25, 27)}},
		{"fewer files than before are kept", map[string]string{"log": lines(4, 6), "log.1": lines(3, 3), "log.2": lines(2, 2), "log.3": lines(1, 1)}, 30, 3, 7, 7,
			map[string]string{"log": lines(7, 7), "log.1": lines(4, 6), "log.2": lines(3, 3)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := newPath(t, test.before)
			f := open(t, path, test.maxBytes, test.maxFiles)
			f.write(t, test.from, test.to)
			assert.Equal(t, test.after, files(t, path))
			require.NoError(t, f.Close())
			assert.Error(t, f.Append([]byte(lines(9, 9))), "closed")
		})
	}
}

// Another program does something to the file between the lines 2 and 3.
func TestNextLineGoesToTheFileAtThePath(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(path string) error
		after   map[string]string
	}{
		"renamed": {
			func(path string) error { return os.Rename(path, path+"-20261122") },
			map[string]string{"log-20261122": lines(1, 2), "log": lines(3, 5)},
		},
		"renamed, and a new one made": {
			func(path string) error {
				return errors.Join(os.Rename(path, path+".1"), os.WriteFile(path, nil, 0o600))
			},
			map[string]string{"log.1": lines(1, 2), "log": lines(3, 5)},
		},
		"replaced by one that is full, when its last line is ended": {
			func(path string) error {
				return errors.Join(os.Remove(path), os.WriteFile(path, []byte(lines(7, 7)+"cut short."), 0o600))
			},
			map[string]string{"log.1": lines(7, 7) + "cut short.\n", "log": lines(3, 5)},
		},
		"deleted": {os.Remove, map[string]string{"log": lines(3, 5)}},
		"in a directory made anew": {
			func(path string) error {
				return errors.Join(os.RemoveAll(filepath.Dir(path)), os.Mkdir(filepath.Dir(path), 0o700))
			},
			map[string]string{"log": lines(3, 5)},
		},
		// copytruncate: O_APPEND makes the next line start at the new end, not after a
		// hole, and the room that was won is used before the next rotation.
		"truncated": {func(path string) error { return os.Truncate(path, 0) }, map[string]string{"log": lines(3, 5)}},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t, nil)
			f := open(t, path, 30, 8)
			f.write(t, 1, 2)
			require.NoError(t, test.happens(path))
			f.write(t, 3, 5)
			assert.Equal(t, test.after, files(t, path))
		})
	}
}

// The rotated name is too long: an error that a test can make as root, too.
func TestFailedRotationKeepsTheFile(t *testing.T) {
	name := strings.Repeat("x", 254)
	path := filepath.Join(filepath.Dir(newPath(t, nil)), name)
	f := open(t, path, 20, 2)
	f.write(t, 1, 2)
	require.ErrorContains(t, f.Append([]byte(lines(3, 3))), "rotate: ")
	require.NoError(t, os.Truncate(path, 10))
	f.write(t, 4, 4)
	assert.Equal(t, map[string]string{name: lines(1, 1) + lines(4, 4)}, files(t, path))
}

func TestDirectoriesAreNotInTheWay(t *testing.T) {
	for maxFiles, after := range map[int]map[string]string{
		1: {"log": lines(9, 9)},
		2: {"log": lines(9, 9), "log.2": lines(8, 8)},
		4: {"log": lines(9, 9), "log.2": lines(8, 8), "log.4": lines(7, 7), "log.5": lines(6, 6)},
	} {
		path := newPath(t, nil)
		for _, name := range []string{".1", ".3"} {
			require.NoError(t, os.MkdirAll(path+name+"/in-it", 0o700))
			after["log"+name] = isDirectory
		}
		open(t, path, 10, maxFiles).write(t, 1, 9)
		assert.Equal(t, after, files(t, path))
		assert.DirExists(t, path+".1/in-it")
	}
}

// What a link leads to is rotated, and not the link: a program that follows the log may
// refuse a rotated file that is a link, and its target would stay for good.
func TestRotatesWhereALinkLeads(t *testing.T) {
	target, path := newPath(t, nil), newPath(t, nil)
	require.NoError(t, os.Symlink(target, path))
	open(t, path, 10, 3).write(t, 1, 9)
	assert.Equal(t, map[string]string{"log": lines(9, 9)}, files(t, path))
	assert.Equal(t, map[string]string{"log": lines(9, 9), "log.1": lines(8, 8), "log.2": lines(7, 7)}, files(t, target))
}

func TestFullPipeHoldsNothingUp(t *testing.T) {
	for name, length := range map[string]int{"short lines": 10, "lines that a pipe may take in part": 3 * 4096} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t, nil)
			require.NoError(t, syscall.Mkfifo(path, 0o600))
			f := open(t, path, 10, 2)
			line := func(i int) []byte { return fmt.Appendf(nil, "%0*d\n", length-1, i) }
			written := 0
			for f.Append(line(written)) == nil {
				written++
			}
			const lost = 5 * unread / patience
			full := time.Now()
			for range lost {
				require.ErrorIs(t, f.Append(line(-1)), os.ErrDeadlineExceeded)
			}
			assert.Less(t, time.Since(full), lost*patience, "only the first ones wait")
			reader, err := os.Open(path)
			require.NoError(t, err)
			defer reader.Close()
			content := make([]byte, (written+1)*length)
			room := (written - 1) * length // what is missing of the last one comes with the next
			_, err = io.ReadFull(reader, content[:room])
			require.NoError(t, err)
			require.NoError(t, f.Append(line(written)))
			_, err = io.ReadFull(reader, content[room:])
			require.NoError(t, err)
			for i := range written + 1 {
				require.Equal(t, string(line(i)), string(content[i*length:][:length]), "none is lost, and none torn")
			}
		})
	}
}

func TestConcurrentLinesAreWholeAndAllThere(t *testing.T) {
	const writers, each, maxBytes = 8, 500, 40 * 10
	path := newPath(t, nil)
	f := open(t, path, maxBytes, 1000)
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for i := range each {
				assert.NoError(t, f.Append([]byte(lines(w*each+i, w*each+i))))
			}
		})
	}
	running.Wait()

	var all []string
	for _, content := range files(t, path) {
		assert.LessOrEqual(t, len(content), maxBytes)
		all = slices.AppendSeq(all, strings.Lines(content))
	}
	slices.Sort(all)
	assert.Equal(t, lines(0, writers*each-1), strings.Join(all, ""))
}
