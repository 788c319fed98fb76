package tail

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestASiblingThatTheLinkNamesIsListedOnceAndLast(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "access.log")
	// Made in the order in which rotation makes them: else their times could say, where
	// the clock ticks between two of them, that the numbers count up.
	for _, name := range []string{"access.log-3", "access.log-2", "access.log-1"} {
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

// A link that leads nowhere is no file, and no reason to stop.
func TestLinksThatLeadNowhereAreLeftOut(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	for name, target := range map[string]string{
		"gone": "nowhere", "loop": filepath.Base(s.path) + ".loop", "through-a-file": s.path + "/x", "long": strings.Repeat("x", 300),
	} {
		require.NoError(t, os.Symlink(target, s.path+"."+name))
	}
	w.some(5)
	w.rotate()
	w.some(5)
	s.look()
	s.want(w.lines)
	require.Empty(t, s.tailer.Status().Error)
}

// While one of several rotated files is being printed, the next one goes, and a
// younger one gets its inode number and its name.
func TestAYoungerFileWithTheNameAndNumberOfTheNextOneIsAnotherFile(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	for range 3 {
		w.some(5)
		w.rotate()
	}
	gone := w.lines[10:15:15] // in .1
	w.some(5)
	before, err := stat(s.path + ".1")
	require.NoError(t, err)
	var after file
	s.cfg.Sink = &hookedSink{sink: s.sink, atFlush: 2, hook: func() {
		require.NoError(t, os.Remove(s.path+".1"))
		w.rotate() // and the new live file gets the number
		w.some(5)
		w.rotate()
		after, err = stat(s.path + ".1")
		require.NoError(t, err)
		w.some(5)
	}}
	s.look()
	if before.id != after.id {
		t.Skip("this file system does not use the inode again")
	}
	var want []string
	for _, line := range w.lines {
		if !slices.Contains(gone, line) {
			want = append(want, line)
		}
	}
	s.want(want)
}

// A hookedSink has something happen in one of its flushes.
type hookedSink struct {
	*sink
	atFlush int
	hook    func()
}

func (h *hookedSink) Flush() error {
	if h.atFlush--; h.atFlush == 0 {
		h.hook()
	}
	return h.sink.Flush()
}

// An empty file that is deleted says nothing of what is older: that is known.
func TestAnOlderFileThatWasTouchedIsNotPrintedAgain(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(5)
	w.rotate()
	s.look()
	afterATick(t, s.path+".1")
	now := time.Now()
	require.NoError(t, os.Chtimes(s.path+".1", now, now))
	require.NoError(t, os.Remove(s.path))
	w.open()
	w.some(5)
	s.look()
	s.want(w.lines)
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
