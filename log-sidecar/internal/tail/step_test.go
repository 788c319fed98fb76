package tail

import (
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// atStep has fault run before the k-th system call from now on that the tailer
// decides on. It is for tests that look, not for ones that run.
func atStep(s *site, k int, fault func()) (done func() bool) {
	n := 0
	s.hook = func() {
		if n++; n == k {
			s.hook = func() {}
			fault()
		}
	}
	return func() bool { return n >= k }
}

// betweenAnyTwoCalls runs scene with fault put before the first system call of the
// tailer, then before the second and so on, for as long as there are so many.
func betweenAnyTwoCalls(t *testing.T, prepare func(*site, *writer), fault func(*site, *writer)) {
	t.Helper()
	for k := 1; ; k++ {
		reached := true
		t.Run(strconv.Itoa(k), func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			prepare(s, w)
			done := atStep(s, k, func() { fault(s, w) })
			s.look()
			if reached = done(); !reached {
				return
			}
			s.look()
			s.want(w.lines)
			w.some(5)
			s.look()
			s.want(w.lines)
			s.kill()
			s.look()
			s.want(w.lines)
		})
		if !reached || t.Failed() {
			require.Greater(t, k, 5, "the tailer makes system calls")
			return
		}
	}
}

// inEveryScene runs each of the scenes with fault between any two calls.
func inEveryScene(t *testing.T, fault func(*site, *writer)) {
	t.Helper()
	for name, prepare := range scenes {
		t.Run(name, func(t *testing.T) { betweenAnyTwoCalls(t, prepare, fault) })
	}
}

// scenes are what the tailer can be doing when something happens.
var scenes = map[string]func(*site, *writer){
	"at the start": func(_ *site, w *writer) { w.some(5) },
	"at the end of the file": func(s *site, w *writer) {
		w.some(5)
		s.look()
	},
	"with lines to come": func(s *site, w *writer) {
		w.some(5)
		s.look()
		w.some(5)
	},
	"with an empty file": func(s *site, w *writer) {
		w.some(5)
		s.look()
		w.rotate()
		s.look()
	},
	"with a file nothing was read of": func(s *site, w *writer) {
		w.some(5)
		s.look()
		w.rotate()
		s.look()
		w.some(5)
	},
	"with the first file empty": func(s *site, w *writer) {
		s.look()
		w.some(5)
	},
	"after rotations": func(s *site, w *writer) {
		w.some(5)
		s.look()
		for range 3 {
			w.some(5)
			w.rotate()
		}
		w.some(5)
	},
	"after a copytruncate": func(s *site, w *writer) {
		w.some(5)
		s.look()
		w.some(5)
		w.copyTruncate()
		w.some(5)
	},
	"after a restart": func(s *site, w *writer) {
		w.some(5)
		s.look()
		s.kill()
		w.some(5)
		w.rotate()
		w.some(5)
	},
}

func TestARenameBetweenAnyTwoSystemCalls(t *testing.T) {
	inEveryScene(t, func(_ *site, w *writer) {
		w.some(3)
		w.rotate()
		w.some(3)
	})
}

func TestSeveralRenamesBetweenAnyTwoSystemCalls(t *testing.T) {
	inEveryScene(t, func(_ *site, w *writer) {
		for range 3 {
			w.rotate()
			w.some(3)
		}
	})
}

func TestACopytruncateBetweenAnyTwoSystemCalls(t *testing.T) {
	inEveryScene(t, func(_ *site, w *writer) {
		w.some(3)
		w.copyTruncate()
		w.some(12) // more than there was
	})
}

func TestACopytruncateThatLeavesTheFileEmptyBetweenAnyTwoSystemCalls(t *testing.T) {
	inEveryScene(t, func(_ *site, w *writer) {
		w.some(3)
		w.copyTruncate()
	})
}

func TestTwoCopytruncatesBetweenAnyTwoSystemCalls(t *testing.T) {
	inEveryScene(t, func(_ *site, w *writer) {
		w.some(3)
		w.copyTruncate()
		w.some(12)
		w.copyTruncate()
		w.some(2)
	})
}

// A copy that has begun, and is listed with what it holds by then, may be the only
// one with the checkpoint a moment later.
func TestTheEndOfACopytruncateBetweenAnyTwoSystemCalls(t *testing.T) {
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
			})
		})
	}
}

// What the tailer has open it prints, also when it is deleted.
func TestADeleteBetweenAnyTwoSystemCalls(t *testing.T) {
	for name, prepare := range scenes {
		switch name {
		case "at the end of the file", "with lines to come", "with an empty file",
			"with a file nothing was read of", "with the first file empty":
		default:
			continue // the file at the path is not the one that is open
		}
		t.Run(name, func(t *testing.T) {
			betweenAnyTwoCalls(t, prepare, func(s *site, w *writer) {
				w.some(3)
				require.NoError(t, os.Remove(s.path))
				w.open()
				w.some(3)
			})
		})
	}
}

// A kill can come anywhere. What was printed then is at most printed once more, as
// one batch.
func TestAKillBetweenAnyTwoSystemCalls(t *testing.T) {
	for name, prepare := range scenes {
		t.Run(name, func(t *testing.T) {
			for k, reached := 1, true; reached && !t.Failed(); k++ {
				t.Run(strconv.Itoa(k), func(t *testing.T) {
					s := newSite(t)
					w := newWriter(t, s.path)
					prepare(s, w)
					done := atStep(s, k, func() { panic("killed") })
					func() {
						defer func() { _ = recover() }()
						s.look()
					}()
					if reached = done(); !reached {
						return
					}
					s.kill()
					w.some(2)
					s.look()
					s.wantAtLeastOnce(w.lines, 1)
				})
			}
		})
	}
}
