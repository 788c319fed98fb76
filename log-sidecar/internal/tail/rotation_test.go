package tail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRotationsWhileDown(t *testing.T) {
	s, w := newLog(t, 10)
	s.kill()
	for range 3 {
		w.some(5000)
		w.rotate()
	}
	w.some(10)
	require.NoError(t, os.WriteFile(s.path+".4", nil, 0o600))
	require.NoError(t, os.WriteFile(s.path+".5.gz", []byte("\x1f\x8bwhatever"), 0o600))
	s.prints(w)
	require.Zero(t, s.tailer.Status().Gaps)
	require.EqualValues(t, 3, s.tailer.Status().Rotations)
}

// Closing the old file after a time, or on the rename, loses what is written to it
// after that.
func TestHeldFileBesideTheLiveOne(t *testing.T) {
	s, w := newLog(t, 5)
	require.NoError(t, os.Rename(s.path, s.path+".1"))
	next := newWriter(t, s.path)
	next.n = 1000
	want := slices.Clone(w.lines)
	for range 20 {
		w.some(5)
		next.some(5)
		s.look()
		want = append(append(want, w.lines[len(w.lines)-5:]...), next.lines[len(next.lines)-5:]...)
		s.want(want)
		status := s.tailer.Status()
		require.Equal(t, []string{"access.log.1"}, status.Held)
		require.Equal(t, 2, status.Followed)
		require.Empty(t, status.Troubles)
		require.Positive(t, s.tailer.retry, "a close causes no event: it has to be asked for")
	}
	w.some(1)
	w.close()
	s.eventually("it is at rest", func() bool {
		_, err := s.tailer.look() // which lists nothing
		require.NoError(t, err)
		return len(s.tailer.Status().Held) == 0
	})
	s.want(append(want, w.lines[len(w.lines)-1]))
	status := s.tailer.Status()
	require.Equal(t, 1, status.Followed)
	require.Zero(t, status.Lag)
}

// It might be a copy in the making, if it did not go on and on.
func TestBusySiblingBesideALogThatBegins(t *testing.T) {
	s, w := newLog(t, 0)
	w.some(5)
	afterATick(t, s.path)
	busy := newWriter(t, s.path+".busy")
	busy.name = "busy"
	s.start()
	s.hook = func() { busy.some(1) }
	s.eventually("the log begins", func() bool {
		s.tailer.stale = true
		_, err := s.tailer.look()
		require.NoError(t, err)
		return slices.Contains(s.sink.printed(), w.lines[4])
	})
	s.hook = func() {}
	s.look()
	require.Len(t, s.sink.printed(), len(w.lines)+len(busy.lines))
}

// What a worker writes first into a file that was rotated while there was nothing in it
// comes before what it writes then into a newer one, of which something is printed already.
func TestFileRotatedWhileEmptyHasItsPlace(t *testing.T) {
	for name, before := range map[string]int{"never written to": 0, "truncated": 5} {
		t.Run(name, func(t *testing.T) {
			s, w := newLog(t, before)
			require.NoError(t, os.WriteFile(s.path+".2.gz", []byte("\x1f\x8b\b\x00"), 0o600))
			worker := newWriter(t, s.path)
			worker.name = "worker"
			require.NoError(t, os.Truncate(s.path, 0))
			s.look()
			afterATick(t, s.path) // else nothing tells that it is the older one
			w.rotate()
			w.some(5)
			s.prints(w)
			worker.some(1)
			worker.open()
			worker.some(5)
			want := append(slices.Clone(w.lines), worker.lines...)
			w.rotate()
			w.some(1)
			s.look()
			s.want(append(want, w.lines[len(w.lines)-1]))
		})
	}
}

func TestLineNeverEndedIsPrintedOnce(t *testing.T) {
	s, w := newLog(t, 2)
	w.write("half")
	w.lines = append(w.lines, "half")
	s.look()
	s.want(w.lines[:2])
	w.rotate() // now nobody can end it
	s.prints(w)
	w.some(5)
	w.copyTruncate() // the file after it is left again, for another one that comes first
	s.look()
	w.some(5)
	s.prints(w)
}

func TestPiecesGoOnAfterAKill(t *testing.T) {
	s, w := newLog(t, 0)
	s.cfg.MaxLineBytes = 1000
	long := strings.Repeat("a", 1000)
	w.write(long + "half")
	s.look()
	s.want([]string{long + "+"})
	s.kill()
	w.write("\nnext\n")
	s.look()
	s.want([]string{long + "+", "half.", "next"})
}

// A timer would split it. The looks are those of events.
func TestLineWrittenInPiecesIsPrintedWhole(t *testing.T) {
	s, w := newLog(t, 0)
	s.runOnEvents()
	for range 3 {
		for _, piece := range []string{`{"a":`, `"b`, `c"`} {
			looked := s.tailer.Status().LastLook
			w.piece(piece)
			s.eventually("it looks", func() bool { return s.tailer.Status().LastLook.After(looked) })
			require.Len(t, s.sink.printed(), len(w.lines))
		}
		w.line(`}`)
		s.wantSoon(w.lines)
	}
	require.False(t, s.tailer.Status().Polling)
}

func TestDeletedAndCreatedAgain(t *testing.T) {
	for name, replace := range map[string]func(s *site){
		"the file": func(s *site) { require.NoError(t, os.Remove(s.path)) },
		"its directory": func(s *site) {
			require.NoError(t, os.Rename(s.dir, t.TempDir()+"/old"))
			require.NoError(t, os.Mkdir(s.dir, 0o755))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := newLog(t, 0)
			s.run()
			for range 30 {
				w.some(20)
				s.wantSoon(w.lines)
				replace(s)
				w.some(20) // to the old file, which is still open
				w.open()
			}
			w.some(1)
			s.wantSoon(w.lines)
		})
	}
}

func TestLinkSwitchedToAnotherFile(t *testing.T) {
	for name, target := range map[string]func(s *site, n string) string{
		"beside it": func(s *site, n string) string { return s.path + "-" + n },
		"elsewhere": func(s *site, n string) string { return filepath.Join(s.cfg.StateDir, n+".log") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			first := newWriter(t, target(s, "1"))
			require.NoError(t, os.Symlink(first.path, s.path))
			first.some(10)
			s.run()
			s.wantSoon(first.lines)
			first.some(10)
			second := newWriter(t, target(s, "2"))
			second.n = 1000
			link := filepath.Join(s.dir, "link")
			require.NoError(t, os.Symlink(second.path, link))
			require.NoError(t, os.Rename(link, s.path))
			second.some(10)
			s.wantSoon(append(first.lines[:20:20], second.lines...))
			first.some(10) // a process still has it
			second.some(10)
			s.eventually("both go on", func() bool { return len(s.sink.printed()) == 50 })
			require.Subset(t, s.sink.printed(), append(first.lines, second.lines...))
		})
	}
}

func TestDirectoryComesLaterGoesComesBack(t *testing.T) {
	s, w := newLog(t, 0)
	w.close()
	require.NoError(t, os.RemoveAll(s.dir))
	s.run()
	for life := range 10 {
		s.eventually("it is missing and polled for", func() bool {
			status := s.tailer.Status()
			return status.File == missing && status.Polling
		})
		require.NoError(t, os.Mkdir(s.dir, 0o755))
		w.open()
		w.some(10)
		w.close()
		s.wantSoon(w.lines)
		s.eventually("events are had", func() bool { return !s.tailer.Status().Polling })
		if life%2 == 0 {
			require.NoError(t, os.Rename(s.dir, s.dir+".old"))
		}
		require.NoError(t, os.RemoveAll(s.dir))
		require.NoError(t, os.RemoveAll(s.dir+".old"))
	}
}

func TestReplacedByACopyOfItself(t *testing.T) {
	for name, replace := range map[string]func(s *site, look func()){
		"copied and deleted, as some rotate": func(s *site, _ func()) {
			afterATick(t, s.path)
			copyFile(t, s.path, s.path+".1")
			deleteForGood(t, s.path)
			require.NoError(t, os.WriteFile(s.path, nil, 0o600))
		},
		"renamed over it, as rsync does": func(s *site, look func()) {
			copyFile(t, s.path, s.dir+"/.tmp")
			look()
			require.NoError(t, os.Rename(s.dir+"/.tmp", s.path))
		},
		"written where it was, as editors do": func(s *site, look func()) {
			require.NoError(t, os.Rename(s.path, s.path+"~"))
			look()
			afterATick(t, s.path+"~") // or it may have been made before
			copyFile(t, s.path+"~", s.path)
			look()
			require.NoError(t, os.Remove(s.path+"~"))
		},
		"moved away, made, and filled": func(s *site, look func()) {
			require.NoError(t, os.Rename(s.path, s.dir+"/elsewhere"))
			look()
			afterATick(t, s.dir+"/elsewhere")
			require.NoError(t, os.WriteFile(s.path, nil, 0o600))
			look()
			require.NoError(t, os.WriteFile(s.path, content(t, s.dir+"/elsewhere"), 0o600))
		},
	} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, down %v", name, down), func(t *testing.T) {
				s, w := newLog(t, 20)
				w.some(5)
				w.close()
				if down {
					s.kill()
					replace(s, func() {})
				} else {
					replace(s, s.look)
				}
				s.look()
				w.open()
				w.some(5)
				s.prints(w)
			})
		}
	}
}

// As by sed -i. What comes after the change may be new, too.
func TestEditedCopyIsPrintedFromTheFirstChange(t *testing.T) {
	for name, at := range map[string]int{"in the first line": 0, "in the middle": 100, "in the last line": 199} {
		t.Run(name, func(t *testing.T) {
			s, w := newLog(t, 200)
			edited := slices.Clone(w.lines)
			edited[at] += " edited"
			require.NoError(t, os.WriteFile(s.dir+"/.tmp", []byte(strings.Join(edited, "\n")+"\n"), 0o644))
			afterATick(t, s.dir+"/.tmp") // else nothing tells that it was made before it replaced the log
			require.NoError(t, os.Rename(s.dir+"/.tmp", s.path))
			s.look()
			s.want(append(w.lines, edited[at:]...))
		})
	}
}

// Where a file is gone, another that begins alike is not what is left of it.
func TestFileThatBeginsLikeADeletedOne(t *testing.T) {
	s, w := newLog(t, 0)
	w.line("starting")
	s.look()
	s.kill()
	afterATick(t, s.path)
	deleteForGood(t, s.path)
	w.open()
	w.line("starting")
	w.some(5)
	w.rotate()
	w.some(5)
	s.prints(w)
}

// deleteForGood deletes the file and keeps its inode number from being used again.
func deleteForGood(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	require.NoError(t, os.Remove(path))
}

// The position is saved after the print: a kill between the two repeats, and never skips.
func TestFailingSinkEndsRun(t *testing.T) {
	for name, draining := range map[string]bool{"following": false, "draining": true} {
		t.Run(name, func(t *testing.T) {
			s, w := newLog(t, 0)
			s.run()
			if draining {
				s.running.stop()
			}
			s.sink.broken.Store(true)
			w.some(5)
			require.ErrorIs(t, s.ended(), errBroken)
			s.sink.broken.Store(false)
			s.look()
			s.want(append(w.lines, w.lines...))
		})
	}
}

// What was rotated away before the sidecar was up is gone; what is older than a position
// was printed.
func TestGapWhereAPositionsFileIsGone(t *testing.T) {
	s, w := newLog(t, 0)
	w.some(10)
	w.rotate()
	w.some(10)
	s.look()
	s.kill()
	w.some(10)
	lost := len(w.lines)
	w.rotate() // .1 has the position, .2 is older
	afterATick(t, s.path+".1")
	for range 2 {
		w.some(10)
		w.rotate()
	}
	w.some(10)
	require.NoError(t, os.Remove(s.path+".3"))
	s.start()
	lag := size(t, s.path+".2") + size(t, s.path+".1") + size(t, s.path)
	require.Equal(t, lag, s.tailer.Status().Lag)
	s.look()
	require.Zero(t, s.tailer.Status().Lag)
	s.want(append(w.lines[:20:20], w.lines[lost:]...))
	require.EqualValues(t, 1, s.tailer.Status().Gaps)
	require.Contains(t, s.log.String(), "lines may be missing")
}
