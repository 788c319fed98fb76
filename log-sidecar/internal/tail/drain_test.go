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

func TestADrainPrintsWhatIsThereAndReturns(t *testing.T) {
	for name, ended := range map[string]func() (bool, bool){
		"nobody to ask":      nil,
		"it cannot be known": answer(false, false),
		"it has ended":       answer(true, true),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.cfg.Ended = ended
			w := newWriter(t, s.path)
			w.some(10)
			w.rotate()
			w.some(10)
			w.close()
			s.run()
			require.NoError(t, s.stop())
			s.want(w.lines)
		})
	}
}

func TestADrainOfNothing(t *testing.T) {
	s := newSite(t)
	s.cfg.Ended = answer(true, true)
	s.run()
	require.NoError(t, s.stop())
	s.want(nil)
}

// With both answers there is nothing to wait for.
func TestADrainIsOverAtOnceWhereTheWriterIsKnownToHaveEnded(t *testing.T) {
	s := newSite(t)
	s.cfg.Ended = answer(true, true)
	w := newWriter(t, s.path)
	w.some(10)
	s.look()
	var steps atomic.Int64
	s.hook = func() { steps.Add(1) }
	s.run()
	s.running.stop()
	s.eventually("it drains", func() bool { return steps.Load() > 100 })
	w.close()
	closed := time.Now()
	require.NoError(t, s.ended())
	require.Less(t, time.Since(closed), drainQuiet)
}

func TestADrainWaitsUntilTheLogHasBeenQuietWhereNobodyIsAsked(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(10)
	w.close()
	written := time.Now()
	s.run()
	require.NoError(t, s.stop())
	require.GreaterOrEqual(t, time.Since(written), drainQuiet)
	s.want(w.lines)
}

func TestADrainGoesOnForAsLongAsTheWriterHasTheFile(t *testing.T) {
	for name, ended := range map[string]func() (bool, bool){
		"nobody to ask": nil, "it says it has ended": answer(true, true),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.cfg.Ended = ended
			w := newWriter(t, s.path)
			s.run()
			s.running.stop()
			for range 5 {
				w.some(10)
				s.wantSoon(w.lines)
				w.rotate()
			}
			require.Empty(t, s.running.ended)
			w.some(1)
			w.close()
			require.NoError(t, s.ended())
			s.want(w.lines)
		})
	}
}

func TestADrainGoesOnForAsLongAsTheWriterSaysSo(t *testing.T) {
	s := newSite(t)
	var ended, asked atomic.Bool
	s.cfg.Ended = func() (bool, bool) {
		asked.Store(true)
		return ended.Load(), true
	}
	w := newWriter(t, s.path)
	s.run()
	s.running.stop()
	for range 3 { // it opens the log anew for each line
		w.open()
		w.some(1)
		w.close()
		s.wantSoon(w.lines)
		asked.Store(false)
		s.eventually("it is asked", asked.Load)
	}
	require.Empty(t, s.running.ended)
	ended.Store(true)
	require.NoError(t, s.ended())
	s.want(w.lines)
}

func TestALineWithoutAnEndIsPrintedLastAndTheCheckpointStaysBeforeIt(t *testing.T) {
	s := newSite(t)
	s.cfg.Ended = answer(true, true)
	w := newWriter(t, s.path)
	w.some(2)
	w.piece("half")
	w.close()
	s.run()
	require.NoError(t, s.stop())
	s.want(append(w.lines[:2:2], "half"))

	w.open()
	w.line(" and half")
	s.look()
	s.want(append(w.lines[:2:2], "half", "half and half"))
}

func TestADrainThatIsCutShortSaysSo(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(10)
	s.run()
	s.running.stop()
	s.wantSoon(w.lines)
	s.running.abort()
	require.ErrorIs(t, s.ended(), errAborted)
}

func TestASinkThatFailsEndsADrain(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	s.run()
	s.running.stop()
	s.sink.fail(errBroken)
	w.some(1)
	require.ErrorIs(t, s.ended(), errBroken)
}

func TestADrainWaitsForABlockedSink(t *testing.T) {
	s := newSite(t)
	s.cfg.Ended = answer(true, true)
	w := newWriter(t, s.path)
	s.run()
	unblock := s.sink.block()
	w.some(10)
	s.eventually("it waits", s.sink.blocked)
	s.running.stop()
	w.some(5000)
	w.close()
	require.Empty(t, s.running.ended)
	unblock()
	require.NoError(t, s.ended())
	s.want(w.lines)
}

func TestADrainFollowsARotationInItsLastMoment(t *testing.T) {
	// Somewhere between the last look and the end of the drain.
	for k := 1; k <= 60; k++ {
		s := newSite(t)
		s.cfg.Ended = answer(true, true)
		w := newWriter(t, s.path)
		w.some(5)
		s.look()
		w.close()
		atStep(s, k, func() {
			w.open()
			w.some(3)
			w.rotate()
			w.close()
		})
		ended := make(chan error, 1)
		tailer := s.tailer
		tailer.quiet = 10 * time.Millisecond
		func() { ended <- tailer.drain() }()
		require.NoError(t, <-ended)
		// What comes after the drain's last question is another life's.
		s.hook = func() {}
		s.look()
		s.want(w.lines)
	}
}
