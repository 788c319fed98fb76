package tail

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A truncation is what a file holds after it had some lines.
type truncation struct {
	name  string
	write func(w *writer)
}

var truncations = []truncation{
	{"nothing", func(*writer) {}},
	{"smaller", func(w *writer) { w.some(3) }},
	{"equal", func(w *writer) {
		w.line(strings.Repeat("e", len(strings.Join(w.lines, "\n"))))
	}},
	{"smaller, and begun alike", func(w *writer) {
		w.line(w.lines[0])
		w.some(3)
	}},
	{"larger", func(w *writer) { w.some(60) }},
}

// What a copy has of it is taken from there.
func TestTruncationToAnySize(t *testing.T) {
	for _, to := range truncations {
		for _, down := range []bool{false, true} {
			for _, copied := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, down: %v, copied: %v", to.name, down, copied), func(t *testing.T) {
					s, w := newLog(t, 20)
					for i := range 3 {
						if down {
							s.kill()
						}
						if copied {
							w.some(20)
							w.copyTruncate()
						} else {
							require.NoError(t, os.Truncate(s.path, 0))
						}
						to.write(w)
						s.prints(w)
						if !down && (i == 0 || to.name != "nothing") {
							require.EqualValues(t, i+1, s.tailer.Status().Truncations)
						}
					}
					s.kill() // it had several positions
					w.some(30)
					s.prints(w)
				})
			}
		}
	}
}

// A writer without O_APPEND goes on at its old offset, and the file begins with a
// hole.
func TestHoleOfATruncationIsDropped(t *testing.T) {
	s, w := newLog(t, 0)
	w.openWithoutAppend()
	for range 4 {
		w.some(2000) // more than a read
		s.look()
		require.NoError(t, os.Truncate(s.path, 0))
	}
	w.some(20)
	s.prints(w)
}

// Some make their file larger before they write to it; lines take the place of NULs.
func TestFileMadeLargerBeforehand(t *testing.T) {
	s, w := newLog(t, 0)
	w.openWithoutAppend()
	require.NoError(t, os.Truncate(s.path, 200_000))
	for range 30 {
		w.some(100)
		s.prints(w)
	}
	s.kill()
	w.some(100)
	s.prints(w)
	require.Zero(t, s.tailer.Status().Truncations)
}

// A rotated file that is overwritten may be about to be deleted: shred does so, several
// times. What it holds in the end is printed only if it stays.
func TestRotatedFileIsOverwritten(t *testing.T) {
	for name, test := range map[string]struct{ stays, held, killed bool }{
		"and deleted":                        {},
		"and stays":                          {stays: true},
		"and deleted, with its writer there": {held: true},
		"and deleted, after a kill":          {killed: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := newLog(t, 20)
			worker := newWriter(t, s.path)
			w.rotate()
			w.some(20)
			if !test.held {
				worker.close()
				s.lookUntil("at rest", func() bool { return s.tailer.files[0].open == nil })
			}
			file, err := os.OpenFile(s.path+".1", os.O_WRONLY, 0)
			require.NoError(t, err)
			defer file.Close()
			last := "\xff" + strings.Repeat("z", int(size(t, s.path)))
			for _, content := range []string{
				strings.Repeat("\xfa\x01\n", 2000), strings.Repeat("U", 6000), strings.Repeat("\x00", 6000), last + "\n",
				strings.Repeat("\xfb\x01\n", 2000), last + "\n",
			} {
				_, err = file.WriteAt([]byte(content), 0)
				require.NoError(t, err)
				if test.killed {
					s.kill()
				}
				s.prints(w)
			}
			require.NoError(t, file.Truncate(int64(len(last))+1))
			if test.stays {
				w.lines = append(w.lines, last)
			} else {
				require.NoError(t, os.Remove(s.path+".1"))
			}
			require.NoError(t, file.Close())
			worker.close()
			s.lookUntil("at rest", func() bool { return s.tailer.Status().Followed == 1 })
			s.prints(w)
			require.Zero(t, s.tailer.Status().Gaps)
		})
	}
}

// A process may keep the file open for as long as it likes.
func TestRotatedFileIsRewritten(t *testing.T) {
	s, w := newLog(t, 20)
	w.rotate()
	w.some(20)
	s.lookUntil("at rest", func() bool { return s.tailer.files[0].open == nil })
	other := &writer{t: t, path: s.path + ".1", name: "other"}
	defer other.close()
	require.NoError(t, os.Truncate(other.path, 0))
	other.open()
	other.line("caf\xe9") // not every text is UTF-8
	other.some(100)
	s.look()
	s.want(append(w.lines, other.lines...))
}

// An app that begins its log anew may begin it with the same lines.
func TestBegunAnewWithTheSameLines(t *testing.T) {
	openLater := func(s *site, w *writer) { // else nothing tells which was first
		mark := s.dir + "/mark"
		require.NoError(t, os.WriteFile(mark, nil, 0o600))
		afterATick(t, mark)
		w.open()
	}
	for name, begin := range map[string]func(s *site, w *writer){
		"truncated":              func(s *site, _ *writer) { require.NoError(t, os.Truncate(s.path, 0)) },
		"copied, then truncated": func(_ *site, w *writer) { w.copyTruncate() },
		"copied, seen, then truncated": func(s *site, _ *writer) {
			copyFile(t, s.path, s.path+".1")
			s.look()
			require.NoError(t, os.Truncate(s.path, 0))
		},
		"deleted": func(s *site, w *writer) {
			require.NoError(t, os.Remove(s.path))
			openLater(s, w)
		},
		"rotated over the older one, unseen": func(s *site, w *writer) {
			require.NoError(t, os.Rename(s.path, s.path+".1"))
			openLater(s, w)
		},
		"rotated over the older one": func(s *site, w *writer) {
			require.NoError(t, os.Rename(s.path, s.path+".1"))
			s.look()
			openLater(s, w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := newLog(t, 20)
			again := content(t, s.path)
			for range 3 {
				begin(s, w)
				s.look()
				w.write(string(again))
				w.lines = append(w.lines, w.lines[:20]...)
				s.prints(w)
			}
		})
	}
}

func TestUnfinishedLineOfATruncatedFile(t *testing.T) {
	for name, copied := range map[string]func(*site){
		"in a copy that is found before":  func(s *site) { copyFile(t, s.path, s.path+".1"); s.look() },
		"in a copy that is found at once": func(s *site) { copyFile(t, s.path, s.path+".1") },
		"in two copies": func(s *site) {
			copyFile(t, s.path, s.path+".1")
			copyFile(t, s.path, s.path+".2")
			s.look()
		},
		"in no copy": nil,
	} {
		t.Run(name, func(t *testing.T) {
			s, w := newLog(t, 20)
			w.write("not finished")
			s.look()
			if copied != nil {
				copied(s)
				w.lines = append(w.lines, "not finished")
			}
			require.NoError(t, os.Truncate(s.path, 0))
			s.prints(w)
			w.some(5)
			s.prints(w)
			status := s.tailer.Status()
			if copied != nil {
				require.Zero(t, status.Gaps)
			} else {
				require.Equal(t, Lost{Truncations: 1, Gaps: 1, GapBytes: int64(len("not finished"))}, status.Lost)
			}
		})
	}
}

func TestReusedInodeIsAnotherFile(t *testing.T) {
	for _, to := range truncations {
		t.Run(to.name, func(t *testing.T) {
			s, w := newLog(t, 20)
			before := look(t, s.path)
			s.kill()
			w.close()
			// The file system gives the number away again: at once (ext4) or never.
			require.NoError(t, os.Remove(s.path))
			w.open()
			to.write(w)
			if before.ID != look(t, s.path).ID {
				t.Skip("this file system does not use the inode again")
			}
			s.prints(w)
		})
	}
}

// A busy app may write the same lines into one file after the other.
func TestFilesWithTheSameLines(t *testing.T) {
	s, w := newLog(t, 0)
	for range 3 {
		for range 50 {
			w.line("the same line, within one second")
		}
		s.look()
		w.rotate()
		for range 2 {
			for range 50 {
				w.line("the same line, within one second")
			}
			w.rotate()
		}
		s.prints(w)
	}
}

func TestFilesWithTheSameFirst1000Bytes(t *testing.T) {
	for _, down := range []bool{false, true} {
		for name, rotate := range map[string]func(*writer){
			"renamed":        (*writer).rotate,
			"copied":         (*writer).copyTruncate,
			"truncated":      func(w *writer) { require.NoError(w.t, os.Truncate(w.path, 0)) },
			"deleted":        func(w *writer) { require.NoError(w.t, os.Remove(w.path)); w.open() },
			"renamed, twice": func(w *writer) { w.rotate(); w.rotate() },
		} {
			t.Run(fmt.Sprintf("%s, down: %v", name, down), func(t *testing.T) {
				s, w := newLog(t, 0)
				for i := range 3 {
					for range 40 {
						w.line("# the same header in every file")
					}
					w.some(10 + i)
					s.prints(w)
					if down {
						s.kill()
					}
					rotate(w)
				}
				s.prints(w)
			})
		}
	}
}
