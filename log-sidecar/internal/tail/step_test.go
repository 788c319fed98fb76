package tail

import (
	"os"
	"strconv"
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

// betweenAnyTwoCalls prepares a site and looks, with fault put before the first system
// call of the tailer, then before the second and so on, for as long as there are so many.
func betweenAnyTwoCalls(t *testing.T, prepare, fault func(*site, *writer), then func(*testing.T, *site, *writer)) {
	t.Helper()
	for k, reached := 1, true; reached && !t.Failed(); k++ {
		t.Run(strconv.Itoa(k), func(t *testing.T) {
			s, w := newLog(t, 0)
			prepare(s, w)
			isReached := atStep(s, k, func() { fault(s, w) })
			func() {
				defer func() {
					if r := recover(); r != nil && r != (killed{}) {
						panic(r)
					}
				}()
				s.look()
			}()
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

// A scene is what the tailer can be doing when something happens.
type scene struct {
	name    string
	prepare func(*site, *writer)
	isOpen  bool // the file at the path: what is written to it is printed, also if it is deleted
}

var scenes = []scene{
	{"at the start", func(_ *site, w *writer) { w.some(5) }, false},
	{"at the end of the file", func(s *site, w *writer) {
		w.some(5)
		s.look()
	}, true},
	{"with lines to come", func(s *site, w *writer) {
		w.some(5)
		s.look()
		w.some(5)
	}, true},
	{"with an empty file", func(s *site, w *writer) {
		w.some(5)
		s.look()
		w.rotate()
		s.look()
	}, true},
	{"with a file nothing was read of", func(s *site, w *writer) {
		w.some(5)
		s.look()
		w.rotate()
		s.look()
		w.some(5)
	}, true},
	{"with the first file empty", func(s *site, w *writer) {
		s.look()
		w.some(5)
	}, true},
	{"after rotations", func(s *site, w *writer) {
		w.some(5)
		s.look()
		for range 3 {
			w.some(5)
			w.rotate()
		}
		w.some(5)
	}, false},
	{"after a copytruncate", func(s *site, w *writer) {
		w.some(5)
		s.look()
		w.some(5)
		w.copyTruncate()
		w.some(5)
	}, false},
	{"after a restart", func(s *site, w *writer) {
		w.some(5)
		s.look()
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
		"delete": func(s *site, w *writer) {
			w.some(3)
			require.NoError(s.t, os.Remove(s.path))
			w.open()
			w.some(3)
		},
	} {
		for _, scene := range scenes {
			if name != "delete" || scene.isOpen {
				t.Run(name+" "+scene.name, func(t *testing.T) { betweenAnyTwoCalls(t, scene.prepare, fault, printedOnce) })
			}
		}
	}
}

// A copy that has begun, and is listed with what it holds by then, may be the only
// one with the position a moment later.
func TestCopytruncateEndsBetweenAnyTwoCalls(t *testing.T) {
	for name, restart := range map[string]bool{"running": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			betweenAnyTwoCalls(t, func(s *site, w *writer) {
				w.some(5)
				s.look()
				require.NoError(t, os.WriteFile(s.path+".1", nil, 0o644))
				afterATick(t, s.path)
				w.some(5)
				s.look()
				w.some(5)
				if restart {
					s.kill()
				}
			}, func(s *site, w *writer) {
				copyFile(t, s.path, s.path+".1")
				require.NoError(t, os.Truncate(s.path, 0))
				w.some(3)
			}, printedOnce)
		})
	}
}

// What was printed when it was killed is at most printed once more, as one batch.
func TestKillBetweenAnyTwoSystemCalls(t *testing.T) {
	for _, scene := range scenes {
		t.Run(scene.name, func(t *testing.T) {
			betweenAnyTwoCalls(t, scene.prepare, func(*site, *writer) { panic(killed{}) }, func(t *testing.T, s *site, w *writer) {
				s.kill()
				w.some(2)
				s.look()
				require.NoError(t, check(w.lines, s.sink.printed(), 1))
			})
		})
	}
}
