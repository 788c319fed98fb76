package tail

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
