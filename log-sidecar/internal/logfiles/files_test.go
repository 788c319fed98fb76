package logfiles

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// readings are enough for a directory in which nothing happens.
const readings = 3

// newDir returns a directory, with no link in its path, that has these files.
func newDir(t testing.TB, files string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	makeFiles(t, dir, files)
	return dir
}

// makeFiles makes these files in dir, in this order. name: is an empty one, name/ a
// directory, name| a pipe, name->target a symbolic link, and name=>other a hard link.
func makeFiles(t testing.TB, dir, files string) {
	t.Helper()
	for file := range strings.FieldsSeq(files) {
		name, target, _ := strings.Cut(file, ">")
		path := filepath.Join(dir, strings.TrimRight(name, ":/|-="))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		var err error
		switch name[len(name)-1] {
		case ':':
			err = os.WriteFile(path, nil, 0o600)
		case '/':
			err = os.MkdirAll(path, 0o755)
		case '|':
			err = syscall.Mkfifo(path, 0o600)
		case '-':
			err = os.Symlink(target, path)
		case '=':
			err = os.Link(filepath.Join(dir, target), path)
		default:
			err = os.WriteFile(path, []byte("of "+name+"\n"), 0o600)
		}
		require.NoError(t, err)
	}
}

// atStep calls f at this step of what l does next, and counts the steps.
func atStep(l *Log, step int, f func()) (steps *int) {
	steps = new(int)
	l.Hook = func() {
		if *steps++; *steps == step {
			f()
		}
	}
	return steps
}

// list lists the log at path, which nothing happens to, and opens each of its files.
func list(t *testing.T, path string) Listing {
	t.Helper()
	l := New(path)
	listing := l.List(readings)
	require.True(t, listing.Stable)
	for _, f := range listing.Files {
		assert.Equal(t, f.Path == path, f.Live, f.Path)
		assert.True(t, l.Has(f.Name), f.Name)
		opened, err := l.Open(f)
		require.NoError(t, err)
		for _, opened := range []*os.File{nil, opened} {
			now, err := l.Again(f, opened)
			require.NoError(t, err)
			assert.True(t, now.Same(f))
			assert.Equal(t, f.Path, now.Path)
			assert.Equal(t, f.Live, now.Live)
			assert.False(t, now.Deleted)
		}
		require.NoError(t, opened.Close())
	}
	return listing
}

// A listingTest has these files in a directory, and the path of a log there. It wants files
// by their names, oldest first, and what is said of the path, if anything.
type listingTest struct{ name, log, files, want, trouble string }

func (test *listingTest) run(t *testing.T) {
	dir := newDir(t, test.files)
	t.Chdir(dir)
	for _, path := range []string{test.log, dir + "/" + test.log} {
		listing := list(t, path)
		assert.Equal(t, test.want, strings.Join(names(listing.Files), " "))
		_, err := os.ReadDir(filepath.Dir(path))
		assert.Equal(t, err == nil, listing.Complete, "where there is a directory to list")
		if err := errors.Join(listing.Troubles...); test.trouble == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, path+test.trouble)
		}
	}
}

func TestEmptyFilesThatAreLeftOut(t *testing.T) {
	rotated, live := &File{Born: 5}, &File{Born: 6, Live: true}
	for _, test := range []struct {
		name  string
		f     *File
		found []*File
		left  bool
	}{
		{"older than the live one", rotated, []*File{live}, true},
		{"as old as the live one", rotated, []*File{{Born: 5, Live: true}}, false},
		{"younger: it may be the live one next", rotated, []*File{{Born: 4, Live: true}}, false},
		{"no creation is known", &File{}, []*File{{Live: true}}, false},
		{"there is no live one", rotated, nil, false},
		{"not empty", &File{Born: 5, Size: 1}, nil, true},
		{"the live one itself", &File{Born: 5, Live: true}, nil, true},
	} {
		left := leaveOutEmpty(append([]*File{test.f}, test.found...))
		assert.Equal(t, test.left, slices.Contains(left, test.f), test.name)
		assert.Subset(t, left, test.found, test.name)
	}
}

func TestListing(t *testing.T) {
	for _, test := range []listingTest{
		{"nothing", "access.log", "", "", ""},
		{"no directory", "log/access.log", "", "", ""},
		{"rotated ones alone", "access.log", "access.log.1", "access.log.1", ""},
		{"other files beside it", "access.log", "access.log.1 other.log.1 access.log1 access.log", "access.log.1 access.log", ""},
		{"empty ones", "access.log", "access.log: access.log.3: access.log.2 access.log.1:", "access.log.2 access.log", ""},
		{"other kinds beside it", "access.log",
			"other access.log.dir/ access.log.pipe| access.log.link->other access.log.gone->nowhere access.log.loop->access.log.loop " +
				"access.log.through->other/x access.log.long->" + strings.Repeat("x", 300) + " access.log", "access.log", ""},

		{"a link in the same directory", "access.log",
			"access.log.2 app.log.1 app.log access.log->app.log", "access.log.2 app.log.1 app.log", ""},
		{"a link to another directory", "log/access.log",
			"log/access.log.2 data/app.log.1 data/access.log.5 log/app.log.6 data/app.log log/access.log->../data/app.log",
			"access.log.2 app.log.1 app.log", ""},
		{"a link to a link", "log/access.log",
			"data/app.log.1 data/app.log current->data/app.log log/access.log->../current", "app.log.1 app.log", ""},
		{"files with several names", "log/access.log",
			"data/app.log.1 log/access.log.1=>data/app.log.1 data/app.log data/app.log.2=>data/app.log log/access.log->../data/app.log",
			"access.log.1 app.log", ""},
		{"a link to a rotated name", "access.log",
			"access.log-3 access.log-2 access.log-1 access.log->access.log-2", "access.log-3 access.log-1 access.log-2", ""},
		{"a link that leads nowhere", "access.log", "access.log.1 access.log->log/app.log", "access.log.1", ""},
		{"a path that is not clean", "./log//./access.log", "log/access.log.1 log/access.log", "access.log.1 access.log", ""},
		{"a directory behind a link", "current/access.log",
			"log/access.log.1 log/access.log current->log", "access.log.1 access.log", ""},
		{"a .. behind a link", "current/../access.log", // it is deep/access.log
			"access.log deep/access.log.1 deep/access.log deep/log/ current->deep/log", "access.log.1 access.log", ""},
		{"a link through a .. behind a link", "access.log",
			"app.log.2 deep/app.log.1 deep/app.log deep/log/ current->deep/log access.log->current/../app.log", "app.log.1 app.log", ""},

		{"a directory as the log", "access.log", "access.log.1 access.log/", "access.log.1", " is not a regular file"},
		{"a pipe as the log", "access.log", "access.log.1 access.log|", "access.log.1", " is not a regular file"},
		{"a link to a directory", "access.log", "access.log.1 log/ access.log->log", "access.log.1", " is not a regular file"},
		{"a link to itself", "access.log", "access.log.1 access.log->access.log", "access.log.1", ": too many levels"},
		{"a file as the directory", "log/access.log", "log", "", ": not a directory"},
	} {
		t.Run(test.name, test.run)
	}
}

func TestDirectories(t *testing.T) {
	dir := newDir(t, "data/app.log data/access.log->app.log deep/log/ current->deep/log deep/access.log->../data/app.log")
	t.Chdir(dir + "/data")
	assert.Equal(t, []string{"."}, New("access.log").Dirs(), "only once")
	assert.Equal(t, []string{dir + "/later/"}, New(dir+"/later/access.log").Dirs(), "not there yet")
	l := New(dir + "/current/../access.log")
	assert.Equal(t, []string{dir + "/deep", dir + "/data"}, l.Dirs())
	for _, name := range []string{"access.log", "access.log.1", "app.log", "app.1.log"} {
		assert.True(t, l.Has(name), name)
	}
	assert.False(t, l.Has("other.log") || l.Has(""))
}

func TestReplacedFileIsNotOpened(t *testing.T) {
	for i, name := range []string{"access.log.1", "access.log"} {
		for _, replacement := range []string{
			"", "NAME", "NAME/", "NAME|", "NAME->nowhere", "NAME->other", "NAME->/proc/self/status", "NAME->NAME.old",
		} {
			replacement = strings.ReplaceAll(replacement, "NAME", name)
			moved := ErrMoved
			if replacement == "access.log->access.log.old" {
				moved = nil // the log may be a link to the file that it was
			}
			for step, want := range []error{moved, nil} { // once it is open, its name does not matter
				dir := newDir(t, "access.log.1 access.log other")
				l := New(dir + "/access.log")
				f := l.List(readings).Files[i]
				steps := atStep(l, step+1, func() {
					require.NoError(t, os.Rename(f.Path, f.Path+".old"))
					if replacement == name+"|" { // which gets the file's inode number, if that is free
						require.NoError(t, os.Remove(f.Path+".old"))
					}
					makeFiles(t, dir, replacement)
				})
				opened, err := l.Open(f)
				require.ErrorIs(t, err, want, replacement)
				if err == nil {
					now, err := Stat(opened)
					require.NoError(t, errors.Join(err, opened.Close()))
					assert.Equal(t, f.ID, now.ID, replacement)
				}
				require.LessOrEqual(t, step+1, *steps)
				_, err = l.Again(f, nil)
				require.ErrorIs(t, err, moved, replacement)
			}
		}
	}
}

func TestRotationWhileListing(t *testing.T) {
	for step := 1; ; step++ {
		dir := newDir(t, "access.log.2 access.log.1 access.log")
		path := dir + "/access.log"
		l := New(path)
		steps := atStep(l, step, func() {
			require.NoError(t, os.Rename(path+".2", path+".3"))
			require.NoError(t, os.Rename(path+".1", path+".2"))
			require.NoError(t, os.Rename(path, path+".1"))
			makeFiles(t, dir, "access.log")
		})
		listing := l.List(readings + 1)
		if *steps < step {
			require.Greater(t, step, 8, "there are at least two readings")
			return
		}
		require.True(t, listing.Stable, "rotated at step %d", step)
		want := []string{"access.log.1", "access.log.2", "access.log.3", "access.log"}
		require.ElementsMatch(t, want, names(listing.Files), "rotated at step %d", step)
	}
}

func TestUnstableListing(t *testing.T) {
	dir := newDir(t, "access.log")
	path := dir + "/access.log"
	l := New(path)
	rotations := 0
	l.Hook = func() { // all the time, and no name tells
		rotations++
		require.NoError(t, os.Rename(path, dir+"/away."+strconv.Itoa(rotations)))
		makeFiles(t, dir, "access.log")
	}
	listing := l.List(readings)
	assert.False(t, listing.Stable)
	assert.Empty(t, listing.Troubles)
	assert.NotEmpty(t, listing.Files)
	assert.False(t, New(path).List(1).Stable, "nothing to compare with")
}

func TestSameFile(t *testing.T) {
	f := File{Path: "access.log", ID: ID{Dev: 1, Ino: 2}, Size: 3, Modified: 4}
	assert.True(t, f.Same(&File{Path: "access.log.1", ID: f.ID, Size: 3, Modified: 4, Changed: 5}), "renamed")
	assert.False(t, f.Same(&File{ID: ID{Dev: 1, Ino: 3}, Size: 3, Modified: 4}), "another")
	assert.False(t, f.Same(&File{ID: f.ID, Size: 4, Modified: 4}), "longer")
	assert.False(t, f.Same(&File{ID: f.ID, Size: 3, Modified: 5}), "written")
}
