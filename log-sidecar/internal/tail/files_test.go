package tail

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSiblingsAreWhatRotationMakesOfTheName(t *testing.T) {
	for name, want := range map[string]bool{
		"access.log.1":         true,
		"access.log.12":        true,
		"access.log-20261122":  true,
		"access.log.old":       true,
		"access.log":           false,
		"access.log.":          false,
		"access.log-":          false,
		"access.log1":          false,
		"access.logs":          false,
		"other.log.1":          false,
		"xaccess.log.1":        false,
		"access.log.1.gz":      false,
		"access.log.2.zst":     false,
		"access.log-2026.bz2":  false,
		"access.log.3.xz":      false,
		"access.log.4.Z":       false,
		"access.log.5.lz4":     false,
		"access.log.6.zip":     false,
		"access.log.1.gz.part": true,
	} {
		require.Equal(t, want, isSibling("access.log", name), name)
	}
}

func TestFilesAreListedOldestFirst(t *testing.T) {
	for name, test := range map[string]struct{ oldestFirst []string }{
		"numbers":              {[]string{"access.log.10", "access.log.9", "access.log.2", "access.log.1"}},
		"dates":                {[]string{"access.log-20251231", "access.log-20261121", "access.log-20261122"}},
		"dates with hours":     {[]string{"access.log-2026112209", "access.log-2026112210"}},
		"dates after a dot":    {[]string{"access.log.2026-11-21", "access.log.2026-11-22"}},
		"seconds since 1970":   {[]string{"access.log-1764000000", "access.log-1764000001"}},
		"by the last write":    {[]string{"access.log.old", "access.log.bak.2", "access.log.newer"}},
		"a number and a date":  {[]string{"access.log-20261121", "access.log.1"}},
		"a date with a suffix": {[]string{"access.log-20261121", "access.log-20261121.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "access.log")
			written := time.Now().Add(-time.Hour)
			for _, name := range slices.Concat(test.oldestFirst, []string{"access.log"}) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("a\n"), 0o644))
				written = written.Add(time.Second)
				require.NoError(t, os.Chtimes(filepath.Join(dir, name), written, written))
			}
			for _, name := range []string{"access.log.1.gz", "other.log"} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("a\n"), 0o644))
			}
			require.NoError(t, os.Mkdir(path+".d", 0o755))
			require.Equal(t, append(test.oldestFirst, "access.log"), names(t, path))
		})
	}
}

// A late write to an older file must not make it the newer one.
func TestNumbersAndDatesDecideWhateverTheTimeOfTheLastWrite(t *testing.T) {
	for _, oldestFirst := range [][]string{
		{"access.log.10", "access.log.2", "access.log.1"},
		{"access.log-20261121", "access.log-20261122"},
	} {
		dir := t.TempDir()
		written := time.Now()
		for _, name := range oldestFirst {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
			written = written.Add(-time.Second)
			require.NoError(t, os.Chtimes(filepath.Join(dir, name), written, written))
		}
		require.Equal(t, oldestFirst, names(t, filepath.Join(dir, "access.log")))
	}
}

func names(t *testing.T, path string) (names []string) {
	t.Helper()
	files, err := list(path)
	require.NoError(t, err)
	for i, f := range files {
		names = append(names, filepath.Base(f.path))
		require.Equal(t, i == len(files)-1 && f.path == path, f.live, f.path)
	}
	return names
}

func TestASiblingThatTheLinkNamesIsListedOnceAndLast(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	for _, name := range []string{"access.log-1", "access.log-2", "access.log-3"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	require.NoError(t, os.Symlink("access.log-2", path))
	require.Equal(t, []string{"access.log-3", "access.log-1", "access.log"}, names(t, path))
}

func TestListOfNothing(t *testing.T) {
	dir := t.TempDir()
	require.Empty(t, names(t, filepath.Join(dir, "access.log")))
	require.Empty(t, names(t, filepath.Join(dir, "gone", "access.log")))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "access.log")))
	require.Empty(t, names(t, filepath.Join(dir, "access.log")))
	_, err := list(dir)
	require.ErrorIs(t, err, errIrregular)
}

func TestListLooksAgainWhileFilesAreBeingRenamed(t *testing.T) {
	for k := 1; k <= 8; k++ {
		s := newSite(t)
		w := newWriter(t, s.path)
		w.rotate()
		w.rotate()
		atStep(t, k, w.rotate)
		require.Equal(t, []string{"access.log.3", "access.log.2", "access.log.1", "access.log"}, names(t, s.path), "rotated at step %d", k)
	}
}

func TestListGivesUpWhileFilesNeverStandStill(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	step = func() {
		require.NoError(t, os.Rename(s.path, s.path+".1"))
		w.open()
	}
	t.Cleanup(func() { step = func() {} })
	_, err := list(s.path)
	require.ErrorIs(t, err, errMoving)
}

func TestThePathMayBeWrittenInAnyWay(t *testing.T) {
	s := newSite(t)
	t.Chdir(s.dir)
	for _, path := range []string{"access.log", "./access.log", "../log//access.log", s.dir + "//./access.log"} {
		t.Run(path, func(t *testing.T) {
			s := &site{t: t, cfg: s.cfg, sink: &sink{}, log: s.log}
			s.cfg.Path, s.cfg.StateDir, s.cfg.Sink = path, "", s.sink
			t.Cleanup(s.kill)
			for _, name := range []string{"access.log.2", "access.log.1", "access.log"} {
				require.NoError(t, os.WriteFile(name, []byte("of "+name+"\n"), 0o644))
			}
			s.look()
			s.want([]string{"of access.log.2", "of access.log.1", "of access.log"})
		})
	}
}

// located writes files, oldest first and the last one live, and asks locate for
// the checkpoint behind offset bytes of old, with the identity of the file named.
func located(t *testing.T, contents []string, old string, offset int, identity int) (holder string, after []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	began := time.Now().Add(-time.Hour)
	for i, content := range contents {
		name := numbered(path, len(contents)-1-i)
		if i == len(contents)-1 {
			name = path
		}
		require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
		written := began.Add(time.Duration(i+1) * time.Minute)
		require.NoError(t, os.Chtimes(name, written, written))
	}
	files, err := list(path)
	require.NoError(t, err)

	at := checkpoint{ID: fileID{Dev: 1, Ino: 1}, MTime: began.Add(90 * time.Second).UnixNano()} // between the first two
	if identity >= 0 {
		at.ID = files[identity].id
	}
	at.advance([]byte(old), offset)
	f, rest, err := locate(files, &at)
	require.NoError(t, err)
	if f != nil {
		holder = filepath.Base(f.path)
	}
	for _, f := range rest {
		after = append(after, filepath.Base(f.path))
	}
	return holder, after
}

func TestLocate(t *testing.T) {
	const gone = -1
	for name, test := range map[string]struct {
		contents []string
		old      string
		identity int // which of the files has the checkpoint's inode
		holder   string
		after    []string
	}{
		"the live file": {[]string{"old\n"}, "old\n", 0, "access.log", nil},
		"more has come": {[]string{"old\nmore\n"}, "old\n", 0, "access.log", nil},
		"it was renamed": {[]string{"old\n", "b\n", "c\n"}, "old\n", 0,
			"access.log.2", []string{"access.log.1", "access.log"}},
		"nothing of it was read": {[]string{"a\n", "b\n", "c\n"}, "", 1,
			"access.log.1", []string{"access.log"}},
		"copied and truncated": {[]string{"x\n", "old\n", "new\n"}, "old\n", 2,
			"access.log.1", []string{"access.log"}},
		"copied and truncated, then renamed": {[]string{"x\n", "old\n", "new\n", "newer\n"}, "old\n", 2,
			"access.log.2", []string{"access.log.1", "access.log"}},
		"copied and truncated twice": {[]string{"x\n", "old\n", "new\n", ""}, "old\n", 3,
			"access.log.2", []string{"access.log.1", "access.log"}},
		"truncated, with no copy": {[]string{"x\n", "y\n", "new\n"}, "old\n", 2,
			"", []string{"access.log.1", "access.log"}},
		"truncated, and an older file has the same content": {[]string{"old\n", "new\n"}, "old\n", 1,
			"", []string{"access.log"}},
		"deleted": {[]string{"x\n", "y\n", "new\n"}, "old\n", gone,
			"", []string{"access.log.1", "access.log"}},
		"deleted, and another file has the same content": {[]string{"x\n", "old\n", "old\n"}, "old\n", gone,
			"", []string{"access.log.1", "access.log"}},
		"nothing at all": {nil, "old\n", gone, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			holder, after := located(t, test.contents, test.old, len(test.old), test.identity)
			require.Equal(t, test.holder, holder)
			require.Equal(t, test.after, after)
		})
	}
}

// After a reboot the device of a volume may have another number.
func TestADeviceWithAnotherNumberHoldsTheSameFiles(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(5)
	s.look()
	at := s.tailer.reader.at
	at.ID.Dev++
	require.NoError(t, s.tailer.reader.store.save(&at))
	s.kill()
	w.some(5)
	w.rotate()
	w.some(5)
	s.look()
	s.want(w.lines)
	require.Zero(t, s.tailer.Status().Gaps)
}

func TestOpenTellsWhenTheNameIsAnotherFilesByNow(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	f, err := stat(s.path)
	require.NoError(t, err)
	w.rotate()
	_, err = open(&f)
	require.ErrorIs(t, err, errMoving)
	require.NoError(t, os.Remove(s.path))
	_, err = open(&f)
	require.ErrorIs(t, err, errMoving)
}

// log4j and others count up: path.2 is younger than path.1.
func TestNumbersThatCountUp(t *testing.T) {
	for name, down := range map[string]bool{"while it runs": false, "while it is down": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			w.some(5)
			for i := range 12 {
				s.look()
				if down && i > 0 {
					s.kill()
				}
				for range 1 + i%3 {
					w.some(5)
					require.NoError(t, os.Rename(s.path, s.path+"."+strconv.Itoa(w.n)))
					afterATick(t, numbered(s.path, w.n))
					w.open()
				}
			}
			w.some(5)
			s.look()
			s.want(w.lines)
		})
	}
}

// Files that were made in another order than they were written, with their times
// set: the names are as logrotate gives them.
func TestNumbersCountDownWhereTheTimesDoNotAgree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	written := time.Now()
	for i := 1; i <= 3; i++ {
		require.NoError(t, os.WriteFile(numbered(path, i), nil, 0o644))
		written = written.Add(-time.Minute)
		require.NoError(t, os.Chtimes(numbered(path, i), written, written))
		afterATick(t, numbered(path, i))
	}
	require.Equal(t, []string{"access.log.3", "access.log.2", "access.log.1"}, names(t, path))
}

func TestAFileWithSeveralNamesIsOneFile(t *testing.T) {
	for name, link := range map[string]func(oldname, newname string) error{"hard link": os.Link, "symbolic link": os.Symlink} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			w.some(5)
			w.rotate()
			require.NoError(t, link(s.path+".1", s.path+".keep"))
			w.some(5)
			s.look()
			s.want(w.lines)
			require.NoError(t, link(s.path, s.path+".now"))
			w.some(5)
			s.look()
			w.rotate()
			w.some(5)
			s.look()
			s.want(w.lines)
		})
	}
}

// What a symbolic link names is rotated in its own directory.
func TestRotationsBehindALink(t *testing.T) {
	for name, down := range map[string]bool{"while it runs": false, "while it is down": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			elsewhere := filepath.Join(t.TempDir(), "app.log")
			w := newWriter(t, elsewhere)
			require.NoError(t, os.Symlink(elsewhere, s.path))
			w.some(5)
			s.look()
			if down {
				s.kill()
			}
			for range 3 {
				w.some(5)
				w.rotate()
			}
			w.some(5)
			s.look()
			s.want(w.lines)
		})
	}
}

// Not each of many files may take a look at all of them.
func TestManyFilesTakeFewSystemCallsEach(t *testing.T) {
	const files = 300
	for name, lines := range map[string]int{"with a line each": 1, "empty": 0} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			w.some(1)
			for range files {
				w.some(lines)
				w.rotate()
			}
			w.some(1)
			calls := 0
			step = func() { calls++ }
			t.Cleanup(func() { step = func() {} })
			s.look()
			s.want(w.lines)
			require.Less(t, calls, 30*files)
		})
	}
}
