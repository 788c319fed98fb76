package tail

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"sidecar.example/log-sidecar/internal/logfiles"
)

func TestMadeBeside(t *testing.T) {
	file := func(live bool, born, changed int64) logfiles.File {
		return logfiles.File{Live: live, Born: born, Changed: changed}
	}
	const live, rotated = true, false
	for _, test := range []struct {
		name  string
		f, of logfiles.File
		want  bool
	}{
		{"copied, then truncated", file(rotated, 5, 6), file(live, 1, 7), true},
		{"copied long ago", file(rotated, 5, 6), file(live, 1, 100), true},
		{"rotated before the live one was made", file(rotated, 1, 5), file(live, 5, 6), false},
		{"rotated in the tick in which the live one was made", file(rotated, 5, 5), file(live, 5, 6), false},

		{"made, then put in place of the log", file(live, 5, 7), file(rotated, 1, 6), true},
		{"made long before it was put there", file(live, 2, 7), file(rotated, 1, 6), true},
		{"made after the log was rotated", file(live, 7, 7), file(rotated, 1, 6), false},
		{"made in the tick of the rotation", file(live, 6, 7), file(rotated, 1, 6), false},

		{"both are rotated", file(rotated, 5, 6), file(rotated, 1, 7), false},
		{"no creation is known", file(rotated, 0, 6), file(live, 0, 7), false},
		{"no creation is known of the live one", file(live, 0, 7), file(rotated, 0, 6), false},
	} {
		assert.Equal(t, test.want, madeBeside(&test.f, &test.of), test.name)
	}
}
