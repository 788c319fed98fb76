package tail

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestItGoesOnWhereItWas(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	for range 10 {
		w.some(10)
		s.look()
		s.kill()
	}
	s.look()
	s.want(w.lines)
}

func TestRotationsWhileDown(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(10)
	s.look()
	s.kill()
	for range 3 {
		w.some(5000)
		w.rotate()
	}
	w.some(10)
	s.look()
	s.want(w.lines)
	require.Zero(t, s.tailer.Status().Gaps)
}

func TestWithNoCheckpointItStartsWithTheOldestFile(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	for range 12 { // .10 is older than .9
		w.some(3)
		w.rotate()
	}
	w.some(3)
	s.look()
	s.want(w.lines)
	require.Zero(t, s.tailer.Status().Gaps)
}

func TestWhereTheCheckpointsFileIsDeletedItGoesOnWithTheOldestLeft(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(10)
	w.rotate()
	w.some(10)
	s.look()
	s.kill()
	w.some(10)
	lost := len(w.lines)
	w.rotate() // .1 has the checkpoint, .2 is older
	afterATick(t, s.path+".1")
	for range 2 {
		w.some(10)
		w.rotate()
	}
	w.some(10)
	require.NoError(t, os.Remove(s.path+".3"))
	s.look()
	s.want(append(w.lines[:20:20], w.lines[lost:]...))
	require.EqualValues(t, 1, s.tailer.Status().Gaps)
	require.Contains(t, s.log.String(), "lines may be missing")
}

func TestWhereEverythingIsDeletedItGoesOnWithWhatComes(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(10)
	s.look()
	s.kill()
	w.close()
	require.NoError(t, os.Remove(s.path))
	s.look()
	w.open()
	w.some(10)
	s.look()
	s.want(w.lines)
	require.EqualValues(t, 1, s.tailer.Status().Gaps)
}

// The checkpoint is written after the batch, so a kill repeats, and never skips.
func TestTheCheckpointIsSavedAfterThePrint(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(3)
	s.start()
	s.sink.fail(errBroken)
	_, err := s.tailer.look()
	require.ErrorIs(t, err, errBroken)
	s.kill()
	s.sink.fail(nil)
	s.look()
	s.want(append(w.lines, w.lines...))
}

func TestABatchIsBounded(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(20000)
	s.look()
	s.want(w.lines)
	info, err := os.Stat(s.path)
	require.NoError(t, err)
	require.GreaterOrEqual(t, s.sink.flushes, int(info.Size()/readSize))
}
