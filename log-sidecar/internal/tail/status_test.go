package tail

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatusWhileTheSinkBlocks(t *testing.T) {
	s, w := newLog(t, 0)
	w.some(1)
	unblock := s.sink.block()
	s.run()
	s.eventually("it waits", s.sink.blocked)
	require.Equal(t, atEnd, s.tailer.Status().File)
	unblock()
	s.wantSoon(w.lines)

	s.sink.block()
	lag := -size(t, s.path)
	w.some(5000)
	lag += size(t, s.path)
	s.eventually("it waits", s.sink.blocked)
	require.Equal(t, lag, s.tailer.Status().Lag)
	for range 3 {
		w.rotate()
		w.some(5000)
		lag += size(t, s.path)
		require.Equal(t, lag, s.tailer.Status().Lag)
	}
	require.NoError(t, os.Remove(s.path+".3"), "which is open")
	require.Equal(t, lag, s.tailer.Status().Lag)
	require.EqualValues(t, 1, s.tailer.Status().Lines)
	unblock()
	s.wantSoon(w.lines)
	s.eventually("no lag is left", func() bool { return s.tailer.Status().Lag == 0 })
}

// What is older than the position has been printed, though its file is gone.
func TestLagAfterTheLiveFileWasDeleted(t *testing.T) {
	s, w := newLog(t, 0)
	w.some(5)
	w.rotate()
	afterATick(t, s.path+".1")
	w.some(5)
	s.look()
	s.kill()
	require.NoError(t, os.Remove(s.path))
	s.start()
	require.Zero(t, s.tailer.Status().Lag)
	s.look()
	require.Zero(t, s.tailer.Status().Lag)
	w.open()
	w.some(5)
	s.prints(w)
	require.Zero(t, s.tailer.Status().Lag)
}

func TestStatusAnswersWhileTheFileSystemHangs(t *testing.T) {
	s := newSite(t)
	s.start()
	hang, hangs := make(chan struct{}), make(chan struct{}, 1)
	s.tailer.log.Hook = func() {
		select {
		case hangs <- struct{}{}:
		default:
		}
		<-hang
	}
	for range 3 { // and asks it once
		_ = s.tailer.Status()
	}
	require.Len(t, hangs, 1)
	close(hang)
	s.tailer.measuring.Lock() // it is through
}

// A loop that gets nowhere must not look alive to whoever asks for its health.
func TestALookThatIsNeverCompleted(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(5)
	s.look()
	before := s.tailer.Status().LastLook
	s.hook = w.rotate
	s.tailer.stale = true
	_, err := s.tailer.look()
	require.NoError(t, err)
	s.hook = func() {}
	assert.Equal(t, before, s.tailer.Status().LastLook)
	s.look()
	assert.Greater(t, s.tailer.Status().LastLook, before)
}

// A file that is let go in a look that lists nothing is printed like any other.
func TestTheLagOfAFileThatWasLetGo(t *testing.T) {
	s := newSite(t)
	old := newWriter(t, s.path)
	old.some(5)
	s.look()
	w := newWriter(t, s.path)
	w.rotate()
	w.some(5)
	s.look()
	require.NotEmpty(t, s.tailer.Status().Held)
	old.close()
	s.eventually("it is let go", func() bool {
		_, err := s.tailer.look() // no event tells of a close
		require.NoError(t, err)
		return len(s.tailer.Status().Held) == 0
	})
	assert.Zero(t, s.tailer.Status().Lag)
}

func TestLagOfAFileDeletedDuringTheFirstBatch(t *testing.T) {
	s, w := newLog(t, 0)
	w.some(5000)
	lag := size(t, s.path)
	unblock := s.sink.block()
	s.run()
	s.eventually("it waits", s.sink.blocked)
	require.NoError(t, os.Remove(s.path))
	assert.Equal(t, lag, s.tailer.Status().Lag)
	unblock()
	s.wantSoon(w.lines)
}
