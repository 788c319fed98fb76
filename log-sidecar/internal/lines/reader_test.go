package lines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/position"
)

func TestLineLongerThanTheBuffer(t *testing.T) {
	const longest, later = 1 << 20, 20_000
	for name, size := range map[string]int{
		"10 KB": 10_000, "100 KB": 100_000, "2 MB": 2_000_000,
		"the buffer": BatchSize, "the buffer and its end": BatchSize - 1, "the buffer with a fingerprint": BatchSize + position.Window,
		"the longest": longest, "one more": longest + 1,
	} {
		t.Run(name, func(t *testing.T) {
			file, err := os.Create(filepath.Join(t.TempDir(), "log"))
			require.NoError(t, err)
			defer file.Close()
			got := &sink{}
			r := NewReader(got, longest, func() {})
			var at Place
			for _, part := range []string{"before\n" + strings.Repeat("x", size), "\nafter\n" + strings.Repeat("later\n", later)} { // its end comes later
				_, err := file.WriteString(part)
				require.NoError(t, err)
				end, err := file.Seek(0, 1)
				require.NoError(t, err)
				for more := true; more; {
					data, err := r.Fill(file, &at, end)
					require.NoError(t, err)
					if r.Printed.Lines > 2 {
						require.LessOrEqual(t, len(data), BatchSize, "batches are small again")
					}
					_, more, err = r.Print()
					require.NoError(t, err)
				}
			}
			last := len(got.lines) - 1 - later
			require.Equal(t, []string{"before", "after"}, []string{got.lines[0], got.lines[last]})
			var joined int
			for _, piece := range got.lines[1:last] {
				body := strings.TrimRight(piece, "+.")
				require.LessOrEqual(t, len(body), longest)
				joined += len(body)
			}
			require.Equal(t, size, joined)
			require.EqualValues(t, 3+later, r.Printed.Lines)
			require.LessOrEqual(t, cap(r.buf), position.Window+BatchSize, "the large buffer is given back")
		})
	}
}
