package tail

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// truncations are what a file can hold after it had 20 lines.
var truncations = map[string]func(w *writer){
	"smaller": func(w *writer) { w.some(3) },
	"equal": func(w *writer) {
		size := 0
		for _, line := range w.lines {
			size += len(line) + 1
		}
		w.line(strings.Repeat("e", size-1))
	},
	"larger": func(w *writer) { w.some(60) },
	"nothing, then more": func(*writer) {
	},
}

func TestATruncationIsNoticedAtAnyNewSize(t *testing.T) {
	for name, write := range truncations {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			w.some(20)
			s.look()
			for i := range 3 {
				require.NoError(t, os.Truncate(s.path, 0))
				write(w)
				s.look()
				s.want(w.lines)
				if name != "nothing, then more" || i == 0 {
					require.EqualValues(t, i+1, s.tailer.Status().Truncations)
				}
			}
			w.some(30)
			s.look()
			s.want(w.lines)
		})
	}
}

func TestATruncationWhileDown(t *testing.T) {
	for name, write := range truncations {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			w.some(20)
			s.look()
			s.kill()
			require.NoError(t, os.Truncate(s.path, 0))
			write(w)
			s.look()
			s.want(w.lines)
		})
	}
}

func TestWhatACopytruncateLeftUnreadIsTakenFromTheCopy(t *testing.T) {
	for _, down := range []bool{false, true} {
		for name, write := range truncations {
			t.Run(fmt.Sprintf("%s, down: %v", name, down), func(t *testing.T) {
				s := newSite(t)
				w := newWriter(t, s.path)
				w.some(20)
				s.look()
				if down {
					s.kill()
				}
				w.some(20)
				w.copyTruncate()
				write(w)
				s.look()
				s.want(w.lines)
				w.some(20)
				s.look()
				s.want(w.lines)
			})
		}
	}
}

func TestSeveralCopytruncatesBetweenTwoLooks(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(20)
	s.look()
	for range 5 {
		w.some(20)
		w.copyTruncate()
	}
	w.some(20)
	s.look()
	s.want(w.lines)
}

func TestACopytruncateOfAFileNothingWasReadFrom(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	s.look()
	for range 3 {
		w.some(20)
		w.copyTruncate()
		w.some(30)
		s.look()
		s.want(w.lines)
		w.rotate()
		s.look()
	}
}

func TestACopytruncateOfAFileNothingWasReadFromAtTheEndOfADrain(t *testing.T) {
	s := newSite(t)
	s.cfg.Ended = func() (bool, bool) { return true, true }
	w := newWriter(t, s.path)
	w.some(20)
	s.look()
	w.rotate()
	s.look()
	w.some(20)
	w.copyTruncate()
	w.close()
	s.run()
	require.NoError(t, s.stop())
	s.want(w.lines)
}

func TestACopytruncateUnderWay(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(20)
	s.look()
	w.rotate()
	s.look()
	w.some(20)
	content, err := os.ReadFile(s.path)
	require.NoError(t, err)
	shift(t, s.path)
	half, err := os.Create(s.path + ".1")
	require.NoError(t, err)
	defer half.Close()
	for _, part := range [][]byte{content[:100], content[100:101], content[101:]} {
		_, err = half.Write(part)
		require.NoError(t, err)
		s.look()
	}
	require.NoError(t, os.Truncate(s.path, 0))
	s.look()
	require.NoError(t, half.Close())
	w.some(20)
	s.look()
	s.want(w.lines)
}

// A writer without O_APPEND goes on at its old offset, and the file begins with a
// hole.
func TestTheHoleThatATruncationLeavesIsDropped(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.openWithoutAppend()
	for range 4 {
		w.some(2000) // more than a read
		s.look()
		require.NoError(t, os.Truncate(s.path, 0))
	}
	w.some(20)
	s.look()
	s.want(w.lines)
}

func TestAnInodeThatIsUsedAgainIsAnotherFile(t *testing.T) {
	for name, write := range truncations {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			w.some(20)
			s.look()
			before := look(t, s.path)
			s.kill()
			w.close()
			// The file system gives the number away again: at once (ext4) or never.
			require.NoError(t, os.Remove(s.path))
			w.open()
			write(w)
			after := look(t, s.path)
			if before.ID != after.ID {
				t.Skip("this file system does not use the inode again")
			}
			s.look()
			s.want(w.lines)
		})
	}
}

func TestFilesWithTheSameFirst1000BytesAreNotTakenForTheSame(t *testing.T) {
	same := strings.Repeat("# the same header in every file\n", 40)
	header := strings.Split(strings.TrimSpace(same), "\n")
	for _, down := range []bool{false, true} {
		for name, rotate := range map[string]func(*writer){
			"renamed":        (*writer).rotate,
			"copied":         (*writer).copyTruncate,
			"truncated":      func(w *writer) { require.NoError(w.t, os.Truncate(w.path, 0)) },
			"deleted":        func(w *writer) { require.NoError(w.t, os.Remove(w.path)); w.open() },
			"renamed, twice": func(w *writer) { w.rotate(); w.rotate() },
		} {
			t.Run(fmt.Sprintf("%s, down: %v", name, down), func(t *testing.T) {
				s := newSite(t)
				w := newWriter(t, s.path)
				for i := range 3 {
					w.write(same)
					w.lines = append(w.lines, header...)
					w.some(10 + i)
					s.look()
					s.want(w.lines)
					if down {
						s.kill()
					}
					rotate(w)
				}
				s.look()
				s.want(w.lines)
			})
		}
	}
}

func TestACheckpointPastTheEndIsNotTrusted(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(100)
	s.look()
	s.kill()
	content, err := os.ReadFile(s.path)
	require.NoError(t, err)
	// The beginning is the same and the rest is gone.
	require.NoError(t, os.Truncate(s.path, int64(strings.Index(string(content), "\n")+1)))
	w.lines = append(w.lines, w.lines[0])
	w.some(5)
	s.look()
	s.want(w.lines)
}

// Some make their file larger before they write to it; lines take the place of NULs.
func TestAFileThatIsMadeLargerBeforehand(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.openWithoutAppend()
	require.NoError(t, os.Truncate(s.path, 200_000))
	for range 30 {
		w.some(100)
		s.look()
		s.want(w.lines)
	}
	s.kill()
	w.some(100)
	s.look()
	s.want(w.lines)
	require.Zero(t, s.tailer.Status().Truncations)
}
