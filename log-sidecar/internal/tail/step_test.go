package tail

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// atStep has fault run before the k-th system call from now on that the tailer
// decides on. It is for tests that look, not for ones that run.
func atStep(s *site, k int, fault func()) (reached func() bool) {
	n := 0
	s.hook = func() {
		if n++; n == k {
			s.hook = func() {}
			fault()
		}
	}
	return func() bool { return n >= k }
}

// A scene is what the tailer can be doing when something happens.
type scene struct {
	name    string
	printed int // lines, before anything else
	prepare func(*site, *writer)
	isOpen  bool // the file at the path: what is written to it is printed, also if it is deleted
}

// betweenAnyTwoCalls sets the scene and looks, with fault put before the first system
// call of the tailer, then before the second and so on, for as long as there are so many.
func betweenAnyTwoCalls(t *testing.T, scene scene, fault func(*site, *writer), then func(*testing.T, *site, *writer)) {
	t.Helper()
	for k, reached := 1, true; reached && !t.Failed(); k++ {
		t.Run(strconv.Itoa(k), func(t *testing.T) {
			s, w := newLog(t, scene.printed)
			scene.prepare(s, w)
			isReached := atStep(s, k, func() { fault(s, w) })
			isKilled(s.look)
			if reached = isReached(); reached {
				then(t, s, w)
			} else {
				require.Greater(t, k, 5, "the tailer makes system calls")
			}
		})
	}
}

// printedOnce wants every line once, then and later.
func printedOnce(_ *testing.T, s *site, w *writer) {
	s.prints(w)
	w.some(5)
	s.prints(w)
	s.kill()
	s.prints(w)
}

var scenes = []scene{
	{"at the start", 0, func(_ *site, w *writer) { w.some(5) }, false},
	{"at the end of the file", 5, func(*site, *writer) {}, true},
	{"with lines to come", 5, func(_ *site, w *writer) { w.some(5) }, true},
	{"with an empty file", 5, func(s *site, w *writer) {
		w.rotate()
		s.look()
	}, true},
	{"with a file nothing was read of", 5, func(s *site, w *writer) {
		w.rotate()
		s.look()
		w.some(5)
	}, true},
	{"with the first file empty", 0, func(s *site, w *writer) {
		s.look()
		w.some(5)
	}, true},
	{"after rotations", 5, func(_ *site, w *writer) {
		for range 3 {
			w.some(5)
			w.rotate()
		}
		w.some(5)
	}, false},
	{"after a copytruncate", 5, func(_ *site, w *writer) {
		w.some(5)
		w.copyTruncate()
		w.some(5)
	}, false},
	{"after a restart", 5, func(s *site, w *writer) {
		s.kill()
		w.some(5)
		w.rotate()
		w.some(5)
	}, false},
}

func TestRotationBetweenAnyTwoSystemCalls(t *testing.T) {
	for name, fault := range map[string]func(*site, *writer){
		"rename": func(_ *site, w *writer) {
			w.some(3)
			w.rotate()
			w.some(3)
		},
		"several renames": func(_ *site, w *writer) {
			for range 3 {
				w.rotate()
				w.some(3)
			}
		},
		"copytruncate": func(_ *site, w *writer) {
			w.some(3)
			w.copyTruncate()
			w.some(12) // more than there was
		},
		"copytruncate that leaves nothing": func(_ *site, w *writer) {
			w.some(3)
			w.copyTruncate()
		},
		"two copytruncates": func(_ *site, w *writer) {
			w.some(3)
			w.copyTruncate()
			w.some(12)
			w.copyTruncate()
			w.some(2)
		},
		"copytruncate that drops the oldest": func(s *site, w *writer) {
			w.some(2)
			afterATick(s.t, s.path)
			require.NoError(s.t, os.RemoveAll(s.path+".1")) // if there is one
			w.copyTruncate()                                // the file system may use the inode again
			w.some(2)
		},
		"delete": func(s *site, w *writer) {
			w.some(3)
			require.NoError(s.t, os.Remove(s.path))
			w.open()
			w.some(3)
		},
	} {
		for _, scene := range scenes {
			if scene.isOpen || !strings.HasPrefix(name, "delete") && !strings.Contains(name, "drops") {
				t.Run(name+" "+scene.name, func(t *testing.T) { betweenAnyTwoCalls(t, scene, fault, printedOnce) })
			}
		}
	}
}

// A copy that has begun may be the only file with the position a moment later. It may be
// finished while its beginning is printed, and while it is let go.
func TestCopytruncateEndsBetweenAnyTwoCalls(t *testing.T) {
	var copied *writer
	begin := func(s *site, bytes int) {
		afterATick(t, s.path) // else nothing tells which was made first
		copied = newWriter(s.t, s.path+".1")
		copied.write(string(content(t, s.path)[:bytes]))
	}
	listed := func(s *site, w *writer) {
		begin(s, 0)
		w.some(5)
		s.look()
		w.some(5)
	}
	for _, scene := range []scene{
		{name: "of a log that is printed", printed: 20, prepare: func(s *site, _ *writer) { begin(s, 500) }},
		{name: "of a log that is not", prepare: func(s *site, w *writer) {
			w.some(20)
			begin(s, 100) // too few to show by themselves that it is a copy
		}},
		{name: "which is listed", printed: 5, prepare: listed},
		{name: "which was listed before a restart", printed: 5, prepare: func(s *site, w *writer) {
			listed(s, w)
			s.kill()
		}},
	} {
		t.Run(scene.name, func(t *testing.T) {
			betweenAnyTwoCalls(t, scene, func(s *site, w *writer) {
				copied.write(string(content(t, s.path)[size(t, copied.path):]))
				require.NoError(t, os.Truncate(s.path, 0))
				copied.close()
				w.some(3)
			}, printedOnce)
		})
	}
}

// What was printed when it was killed is at most printed once more, as one batch.
func TestKillBetweenAnyTwoSystemCalls(t *testing.T) {
	for _, scene := range scenes {
		t.Run(scene.name, func(t *testing.T) {
			betweenAnyTwoCalls(t, scene, func(*site, *writer) { panic(killed{}) }, func(t *testing.T, s *site, w *writer) {
				s.kill()
				w.some(2)
				s.look()
				require.NoError(t, check(w.lines, s.sink.printed(), 1))
			})
		})
	}
}
