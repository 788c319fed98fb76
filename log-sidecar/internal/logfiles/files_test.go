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

// newDir returns a directory, with no link in its path, that has these files. A name that
// ends in a slash is a directory, in a bar a pipe, one with an arrow a symbolic link.
func newDir(t testing.TB, names ...string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, name := range names {
		link, target, isLink := strings.Cut(name, " -> ")
		path := filepath.Join(dir, link)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		switch {
		case isLink:
			require.NoError(t, os.Symlink(target, path))
		case strings.HasSuffix(name, "/"):
			require.NoError(t, os.MkdirAll(path, 0o755))
		case strings.HasSuffix(name, "|"):
			require.NoError(t, syscall.Mkfifo(strings.TrimSuffix(path, "|"), 0o600))
		default:
			write(t, path, "of "+name+"\n")
		}
	}
	return dir
}

func write(t testing.TB, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// list lists the log at path, which nothing happens to, and opens each of its files.
func list(t *testing.T, path string) Listing {
	t.Helper()
	l := New(path)
	listing := l.List(readings)
	require.True(t, listing.Stable)
	for i := range listing.Files {
		f := &listing.Files[i]
		assert.Equal(t, f.Path == path, f.Live, f.Path)
		assert.True(t, !f.Live || i == len(listing.Files)-1, "the live one is last")
		assert.True(t, l.Has(f.Name), f.Name)
		opened, err := l.Open(f)
		require.NoError(t, err)
		for _, opened := range []*os.File{nil, opened} {
			now, err := l.Again(f, opened)
			require.NoError(t, err)
			assert.True(t, now.Same(f))
			assert.Equal(t, f.Path, now.Path)
			assert.Equal(t, f.Live, now.Live)
		}
		require.NoError(t, opened.Close())
	}
	return listing
}

func TestListing(t *testing.T) {
	for _, test := range []struct {
		name  string
		log   string // in the directory
		files []string
		want  []string // as they are found, in any order but that of the live one
	}{
		{"nothing", "access.log", nil, nil},
		{"the live one alone", "access.log", []string{"access.log"}, []string{"access.log"}},
		{"rotated ones alone", "access.log", []string{"access.log.1"}, []string{"access.log.1"}},
		{"other files beside it", "access.log",
			[]string{"access.log", "access.log.1", "other.log", "other.log.1", "access.log1"},
			[]string{"access.log.1", "access.log"}},
		{"what is no regular file beside it", "access.log",
			[]string{"other", "access.log.dir/", "access.log.pipe|", "access.log.link -> other", "access.log.gone -> nowhere",
				"access.log.loop -> access.log.loop", "access.log.through -> other/x",
				"access.log.long -> " + strings.Repeat("x", 300), "access.log"},
			[]string{"access.log"}},

		{"a link in the same directory", "access.log",
			[]string{"app.log.1", "access.log.2", "app.log", "access.log -> app.log"},
			[]string{"access.log.2", "app.log.1", "app.log"}},
		{"a link to another directory", "log/access.log",
			[]string{"data/app.log.1", "data/access.log.5", "log/access.log.2", "log/app.log.6", "data/app.log", "log/access.log -> ../data/app.log"},
			[]string{"access.log.2", "app.log.1", "app.log"}},
		{"a link to a link", "log/access.log",
			[]string{"data/app.log.1", "data/app.log", "current -> data/app.log", "log/access.log -> ../current"},
			[]string{"app.log.1", "app.log"}},
		{"a link to a rotated name", "access.log",
			[]string{"access.log-1", "access.log-2", "access.log-3", "access.log -> access.log-2"},
			[]string{"access.log-1", "access.log-3", "access.log-2"}},
		{"a link that leads nowhere", "access.log",
			[]string{"access.log.1", "access.log -> nowhere"},
			[]string{"access.log.1"}},
		{"a directory behind a link", "current/access.log",
			[]string{"log/access.log.1", "log/access.log", "current -> log"},
			[]string{"access.log.1", "access.log"}},
		{"a .. behind a link", "current/../access.log", // it is deep/access.log
			[]string{"access.log", "deep/access.log.1", "deep/access.log", "deep/log/", "current -> deep/log"},
			[]string{"access.log.1", "access.log"}},
		{"a link through a .. behind a link", "access.log",
			[]string{"app.log.2", "deep/app.log.1", "deep/app.log", "deep/log/", "current -> deep/log", "access.log -> current/../app.log"},
			[]string{"app.log.1", "app.log"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := newDir(t, test.files...) + "/" + test.log
			listing := list(t, path)
			assert.True(t, listing.Complete)
			assert.Empty(t, listing.Troubles)
			found := names(listing.Files)
			if len(found) > 0 && listing.Files[len(found)-1].Live {
				assert.Equal(t, test.want[len(test.want)-1], found[len(found)-1], "the live one")
			}
			assert.ElementsMatch(t, test.want, found)
		})
	}
}

func TestPathsToOneLog(t *testing.T) {
	dir := newDir(t, "log/access.log.1", "log/access.log", "log/app.log -> access.log") + "/log"
	t.Chdir(dir)
	for _, path := range []string{"access.log", "./access.log", "../log//access.log", dir + "//./access.log", "app.log", "./app.log"} {
		listing := list(t, path)
		assert.Equal(t, []string{"access.log.1", "access.log"}, names(listing.Files), path)
		for _, watched := range New(path).Dirs() {
			absolute, err := filepath.Abs(watched)
			require.NoError(t, err)
			assert.Equal(t, dir, absolute, path)
		}
	}
}

func TestDirectories(t *testing.T) {
	dir := newDir(t, "data/app.log", "deep/log/", "current -> deep/log", "deep/access.log -> ../data/app.log")
	l := New(dir + "/current/../access.log")
	assert.Equal(t, []string{dir + "/deep", dir + "/data"}, l.Dirs())
	for name, want := range map[string]bool{
		"access.log": true, "access.log.1": true, "app.log": true, "app.1.log": true, "other.log": false, "": false,
	} {
		assert.Equal(t, want, l.Has(name), name)
	}
	assert.Equal(t, []string{dir + "/later/"}, New(dir+"/later/access.log").Dirs(), "not there yet")
}

func TestEmptyRotatedFilesAreLeftOut(t *testing.T) {
	dir := newDir(t, "access.log.2")
	for _, name := range []string{"access.log.3", "access.log.1", "access.log"} {
		write(t, filepath.Join(dir, name), "")
	}
	assert.Equal(t, []string{"access.log.2", "access.log"}, names(list(t, dir+"/access.log").Files))
}

func TestSeveralNamesAreOneFile(t *testing.T) {
	dir := newDir(t, "access.log.1", "access.log")
	for name, oldname := range map[string]string{"access.log.keep": "access.log.1", "access.log.now": "access.log"} {
		require.NoError(t, os.Link(filepath.Join(dir, oldname), filepath.Join(dir, name)))
	}
	files := list(t, dir+"/access.log").Files
	require.Len(t, files, 2)
	assert.Contains(t, []string{"access.log.1", "access.log.keep"}, files[0].Name)
	assert.Equal(t, "access.log", files[1].Name)
}

func TestTroublesAreTold(t *testing.T) {
	for _, test := range []struct {
		name, log string
		files     []string
		trouble   string // of the live file
		complete  bool
	}{
		{"a directory as the log", "access.log", []string{"access.log.1", "access.log/"}, "is not a regular file", true},
		{"a pipe as the log", "access.log", []string{"access.log.1", "access.log|"}, "is not a regular file", true},
		{"a link to a directory", "access.log", []string{"access.log.1", "log/", "access.log -> log"}, "is not a regular file", true},
		{"a link to itself", "access.log", []string{"access.log.1", "access.log -> access.log"}, "too many levels", true},
		{"a file as the directory", "log/access.log", []string{"log"}, "not a directory", false},
		{"no directory", "log/access.log", nil, "", false},
		{"no directory behind a link", "access.log", []string{"access.log.1", "access.log -> log/app.log"}, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := newDir(t, test.files...) + "/" + test.log
			listing := list(t, path)
			assert.Equal(t, test.complete, listing.Complete)
			assert.Equal(t, slices.Contains(test.files, "access.log.1"), len(listing.Files) == 1, "the others are listed")
			if test.trouble == "" {
				assert.Empty(t, listing.Troubles)
				return
			}
			require.NotEmpty(t, listing.Troubles)
			assert.ErrorContains(t, listing.Troubles[0], test.trouble)
			assert.ErrorContains(t, listing.Troubles[0], path)
		})
	}
}

func TestReplacedFileIsNotOpened(t *testing.T) {
	for _, name := range []string{"access.log", "access.log.1"} {
		for _, test := range []struct {
			name    string
			replace func(path string) error
		}{
			{"gone", os.Remove},
			{"renamed", func(path string) error { return os.Rename(path, path+".old") }},
			{"another file", func(path string) error { return os.Rename(filepath.Join(filepath.Dir(path), "other"), path) }},
			{"a link that leads nowhere", func(path string) error { return errors.Join(os.Remove(path), os.Symlink("nowhere", path)) }},
			{"a pipe", func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) }},
		} {
			t.Run(name+" is "+test.name, func(t *testing.T) {
				dir := newDir(t, "access.log.1", "access.log", "other")
				l := New(dir + "/access.log")
				files := l.List(readings).Files
				f := &files[slices.Index(names(files), name)]
				require.NoError(t, test.replace(f.Path))
				_, err := l.Open(f)
				require.ErrorIs(t, err, ErrMoved)
				_, err = l.Again(f, nil)
				require.ErrorIs(t, err, ErrMoved)
			})
		}
	}
}

// The rotated file itself has not changed, but its name is a link now.
func TestRotatedFileBehindLinkIsNotOpened(t *testing.T) {
	dir := newDir(t, "access.log.1")
	l := New(dir + "/access.log")
	f := &l.List(readings).Files[0]
	require.NoError(t, os.Rename(f.Path, dir+"/other"))
	require.NoError(t, os.Symlink("other", f.Path))
	_, err := l.Open(f)
	require.ErrorIs(t, err, ErrMoved)
}

func TestFileOpenedWhileItIsReplaced(t *testing.T) {
	for step := 1; step <= 2; step++ {
		dir := newDir(t, "access.log")
		l := New(dir + "/access.log")
		f, err := l.Live()
		require.NoError(t, err)
		calls := 0
		l.Hook = func() {
			if calls++; calls == step {
				require.NoError(t, os.Rename(f.Path, f.Path+".1"))
				write(t, f.Path, "new\n")
			}
		}
		opened, err := l.Open(&f)
		if step == 1 {
			require.ErrorIs(t, err, ErrMoved)
			continue
		}
		require.NoError(t, err)
		now, err := Stat(opened)
		require.NoError(t, err)
		assert.Equal(t, f.ID, now.ID, "it was open already, whatever its name is")
		require.NoError(t, opened.Close())
	}
}

func TestRotationWhileListing(t *testing.T) {
	for step := 1; ; step++ {
		dir := newDir(t, "access.log.2", "access.log.1", "access.log")
		path := dir + "/access.log"
		l := New(path)
		calls := 0
		l.Hook = func() {
			if calls++; calls != step {
				return
			}
			require.NoError(t, os.Rename(path+".2", path+".3"))
			require.NoError(t, os.Rename(path+".1", path+".2"))
			require.NoError(t, os.Rename(path, path+".1"))
			write(t, path, "new\n")
		}
		listing := l.List(readings + 1)
		if calls < step {
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
	l := New(dir + "/access.log")
	n := 0
	l.Hook = func() { // it is rotated all the time
		n++
		require.NoError(t, os.Rename(dir+"/access.log", dir+"/access.log."+strconv.Itoa(n)))
		write(t, dir+"/access.log", "new\n")
	}
	listing := l.List(readings)
	assert.False(t, listing.Stable)
	assert.Empty(t, listing.Troubles)
	assert.NotEmpty(t, listing.Files)
	assert.False(t, New(dir+"/access.log").List(1).Stable, "nothing to compare with")
}

func TestSameFile(t *testing.T) {
	dir := newDir(t, "access.log")
	l := New(dir + "/access.log")
	before, err := l.Live()
	require.NoError(t, err)
	require.NoError(t, os.Rename(before.Path, before.Path+".1"))
	renamed := l.List(readings).Files[0]
	assert.True(t, renamed.Same(&before), "a rename is nothing")
	write(t, before.Path+".1", "more\nthan before\n")
	written := l.List(readings).Files[0]
	assert.False(t, written.Same(&before))
	write(t, before.Path, "of access.log\n")
	other, err := l.Live()
	require.NoError(t, err)
	assert.False(t, other.Same(&before))
}
