package tail

import (
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStatusWhileTheSinkBlocks(t *testing.T) {
	s, w := newLog(t, 0)
	w.some(5000)
	unblock := s.block()
	s.run()
	s.eventually("it waits", s.sink.waiting.Load)
	require.Equal(t, atEnd, s.tailer.Status().File)
	lag := size(t, s.path)
	require.NoError(t, os.Remove(s.path), "during its first batch")
	require.Equal(t, lag, s.tailer.Status().Lag)
	unblock()
	s.wantSoon(w.lines)

	w.open()
	w.some(1)
	s.wantSoon(w.lines)
	unblock = s.block()
	lag = -size(t, s.path)
	w.some(5000)
	lag += size(t, s.path)
	s.eventually("it waits", s.sink.waiting.Load)
	require.Equal(t, lag, s.tailer.Status().Lag)
	for range 3 {
		w.rotate()
		w.some(5000)
		lag += size(t, s.path)
		require.Equal(t, lag, s.tailer.Status().Lag)
	}
	require.NoError(t, os.Remove(s.path+".3"), "which is open")
	require.Equal(t, lag, s.tailer.Status().Lag)
	require.EqualValues(t, 5001, s.tailer.Status().Lines)
	unblock()
	s.wantSoon(w.lines)
	s.eventually("no lag is left", func() bool { return s.tailer.Status().Lag == 0 })
}

func TestStatusAnswersWhileTheFileSystemHangs(t *testing.T) {
	s := newSite(t)
	s.start()
	hang := make(chan struct{})
	var calls atomic.Int64
	s.hook = func() {
		calls.Add(1)
		<-hang
	}
	for range 3 { // and asks it once
		_ = s.tailer.Status()
	}
	require.EqualValues(t, 1, calls.Load())
	close(hang)
	s.tailer.measuring.Lock() // it is through
}

// A loop that gets nowhere must not look alive to whoever asks for its health.
func TestALookThatIsNeverCompleted(t *testing.T) {
	s, w := newLog(t, 5)
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
