package tail

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/logfiles"
)

// Whatever an app writes, in whatever steps, comes out line by line, once, and over a
// restart as well.
func FuzzLog(f *testing.F) {
	f.Add([]byte("one\ntwo\r\n\nthree"), uint16(4))
	f.Add([]byte("\xEF\xBB\xBFone\n\x00\x00two\n\x00"), uint16(1))
	f.Add([]byte("\x00\xEF\xBB\xBF\n"), uint16(3)) // the NULs are passed over before the rest is there
	f.Add([]byte(strings.Repeat("a longer line than the rest\n", 50)), uint16(7))
	f.Add([]byte("\x1f\x8bcompressed\n"), uint16(100))
	f.Add([]byte{0, 0, '\n', 0xff, '\n', 0xEF, 0xBB, 0xBF, '\n'}, uint16(3))
	f.Fuzz(func(t *testing.T, content []byte, step uint16) {
		s, w := newLog(t, 0)
		if logfiles.IsCompressed(content) {
			t.Skip("not printed")
		}
		for i, rest := 0, content; len(rest) > 0; i++ {
			n := min(int(step)+1, len(rest))
			w.write(string(rest[:n]))
			rest = rest[n:]
			if i < 20 || len(rest) == 0 { // a look costs more than a write
				s.look()
			}
			if i == 10 {
				s.kill()
			}
		}
		var want []string
		terminated := content[:bytes.LastIndexByte(content, '\n')+1]
		for i, line := range bytes.Split(terminated, []byte("\n")) {
			line = bytes.TrimLeft(line, "\x00")
			if i == 0 {
				line = bytes.TrimPrefix(line, []byte("\xEF\xBB\xBF"))
			}
			if line = bytes.TrimSuffix(line, []byte("\r")); len(line) > 0 {
				want = append(want, string(line))
			}
		}
		require.Equal(t, want, s.sink.printed())
	})
}
