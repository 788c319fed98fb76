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
