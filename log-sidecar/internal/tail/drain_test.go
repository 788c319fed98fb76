package tail

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answer is an Ended that says this.
func answer(ended, known bool) func() (bool, bool) {
	return func() (bool, bool) { return ended, known }
}

// The log must have been quiet, unless the kernel says that nobody has it open any more and
// the app that it has ended.
func TestDrainEndsWithTheWriter(t *testing.T) {
	for name, test := range map[string]struct {
		ended func() (bool, bool)
		open  bool // when the drain begins
		quiet time.Duration
	}{
		"nobody to ask":      {nil, true, 100 * time.Millisecond},
		"it cannot be known": {answer(false, false), true, 100 * time.Millisecond},
		"it has ended":       {answer(true, true), true, time.Hour}, // which is not waited for
		"it was never seen":  {answer(true, true), false, 100 * time.Millisecond},
		"nobody, never seen": {nil, false, 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s, w := newLog(t, 0)
			s.cfg.Ended = test.ended
			s.start()
			s.tailer.quiet = test.quiet
			w.some(10)
			w.rotate()
			w.some(10)
			written := time.Now()
			if !test.open {
				w.close()
			}
			s.run()
			s.running.stop()
			if test.open {
				s.wantSoon(w.lines)
				for range 3 { // the first look may be Run's last
					w.some(1)
					s.wantSoon(w.lines)
				}
				require.Empty(t, s.running.ended)
				w.some(10)
				written = time.Now()
				w.close()
			}
			require.NoError(t, s.ended())
			s.want(w.lines)
			if test.quiet != time.Hour {
				const tick = 10 * time.Millisecond // that the file system's clock may be behind
				require.GreaterOrEqual(t, time.Since(written)+tick, test.quiet)
			}
		})
	}
}

func TestDrainGoesOnUntilTheAppEnds(t *testing.T) {
	for name, aborted := range map[string]bool{"it ends": false, "cut short": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t) // without a log: the app may write its first line yet
			var ended atomic.Bool
			var asked atomic.Int64
			s.cfg.Ended = func() (bool, bool) {
				asked.Add(1)
				return ended.Load(), true
			}
			s.start()
			s.tailer.quiet = 0
			s.run()
			s.running.stop()
			s.eventually("it is asked again", func() bool { return asked.Load() > 3 })
			require.Empty(t, s.running.ended)
			if aborted {
				s.running.abort()
				require.ErrorIs(t, s.ended(), errAborted)
			} else {
				ended.Store(true)
				require.NoError(t, s.ended())
			}
		})
	}
}

// Where nobody knows whether the app has ended, each line begins the silence anew.
func TestLineAtTheLastMomentIsWaitedFor(t *testing.T) {
	s, w := newLog(t, 5)
	w.close()
	asked := 0
	s.tailer.cfg.Ended = func() (bool, bool) {
		if asked++; asked <= 3 { // the drain has found nothing new by then
			w.open()
			w.some(1)
			w.close()
		}
		return false, false
	}
	s.tailer.quiet = 0
	require.NoError(t, s.tailer.drain())
	require.Equal(t, 4, asked)
	s.want(w.lines)
}

// It comes between any two system calls of the drain, which takes the rest of a copy as well.
func TestDrainFollowsARotation(t *testing.T) {
	for k, reached := 1, true; reached; k++ {
		s, w := newLog(t, 5)
		w.some(5)
		w.copyTruncate()
		w.some(5)
		w.close()
		isReached := atStep(s, k, func() {
			w.open()
			w.some(3)
			w.rotate()
			w.close()
		})
		s.tailer.cfg.Ended = answer(true, true)
		s.tailer.quiet = 10 * time.Millisecond
		require.NoError(t, s.tailer.drain())
		if reached = isReached(); reached {
			// What comes after the drain's last question is another life's.
			s.hook = func() {}
			s.look()
		}
		s.want(w.lines)
	}
}
