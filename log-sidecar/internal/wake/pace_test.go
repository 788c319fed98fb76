package wake

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestPausesGrowWhileActivityContinues(t *testing.T) {
	const ms = time.Millisecond
	var p Pace
	now := time.Now()
	for i, step := range []struct{ after, want time.Duration }{
		{0, 0}, // the first
		{0, 1 * ms}, {1 * ms, 2 * ms}, {2 * ms, 4 * ms}, {4 * ms, 8 * ms}, {8 * ms, 16 * ms}, {16 * ms, 32 * ms},
		{32 * ms, 37 * ms}, {37 * ms, 37 * ms}, {74 * ms, 37 * ms}, // the longest
		{75 * ms, 0}, // a silence
		{1 * ms, 1 * ms},
	} {
		now = now.Add(step.after)
		assert.Equal(t, step.want, p.Next(now), "step %d", i)
	}
}
