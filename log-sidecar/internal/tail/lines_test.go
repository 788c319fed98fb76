package tail

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/position"
)

// deliver hands data to a reader with this MaxLineBytes, in chunks of at most
// chunk bytes, as a file that grows would, and returns what the sink got and what
// was held back.
func deliver(data string, maxLine, chunk int) (got []string, held string) {
	s := &sink{}
	t := &Tailer{cfg: Config{Sink: s, MaxLineBytes: maxLine}}
	split := false
	for pending := ""; ; {
		n := min(chunk, len(data))
		pending, data = pending+data[:n], data[n:]
		n, split = t.cut([]byte(pending), split, false)
		pending = pending[n:]
		if len(data) == 0 {
			return s.taken, pending
		}
	}
}

func TestLinesAreCutAtTheirEnds(t *testing.T) {
	long := strings.Repeat("x", 8)
	for name, test := range map[string]struct {
		data string
		want []string
		held string
	}{
		"nothing":                         {"", nil, ""},
		"one line":                        {"a\n", []string{"a"}, ""},
		"several":                         {"a\nb\nc\n", []string{"a", "b", "c"}, ""},
		"an unterminated one is held":     {"a\nb", []string{"a"}, "b"},
		"only an unterminated one":        {"abc", nil, "abc"},
		"CRLF":                            {"a\r\nb\r\n", []string{"a", "b"}, ""},
		"only the last CR goes":           {"a\r\r\n\rb\n", []string{"a\r", "\rb"}, ""},
		"a CR whose LF is to come":        {"a\r", nil, "a\r"},
		"empty lines are dropped":         {"\n\na\n\r\n\n", []string{"a"}, ""},
		"NULs before a line are dropped":  {"\x00\x00a\n\x00b\n", []string{"a", "b"}, ""},
		"NULs within a line stay":         {"a\x00b\n", []string{"a\x00b"}, ""},
		"NULs alone are held":             {"a\n\x00\x00", []string{"a"}, "\x00\x00"},
		"so are any number of them":       {strings.Repeat("\x00", 9), nil, strings.Repeat("\x00", 9)},
		"NULs and an end of line":         {"\x00\x00\n\x00a\n", []string{"a"}, ""},
		"invalid UTF-8 is left to others": {"a\xffb\n", []string{"a\xffb"}, ""},
		"exactly the longest":             {long + "\n", []string{long}, ""},
		"exactly the longest, with a CR":  {long + "\r\n", []string{long}, ""},
		"the longest, its end to come":    {long, nil, long},
		"the longest, its LF to come":     {long + "\r", nil, long + "\r"},
		"one more":                        {long + "y\n", []string{long + "+", "y."}, ""},
		"one more, with a CR":             {long + "y\r\n", []string{long + "+", "y."}, ""},
		"one more, its end to come":       {long + "y", []string{long + "+"}, "y"},
		"a CR that is not at the end":     {long + "\ry\n", []string{long + "+", "\ry."}, ""},
		"two CRs at the edge":             {long + "\r\r\n", []string{long + "+", "\r."}, ""},
		"twice the longest":               {long + long + "\n", []string{long + "+", long + "."}, ""},
		"three pieces and a line":         {long + long + "z\nb\n", []string{long + "+", long + "+", "z.", "b"}, ""},
		"NULs within a long line stay":    {long + "\x00\x00\n", []string{long + "+", "\x00\x00."}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for chunk := 1; chunk <= max(1, len(test.data)); chunk++ {
				got, held := deliver(test.data, len(long), chunk)
				require.Equal(t, test.want, got, "in chunks of %d", chunk)
				require.Equal(t, test.held, held, "in chunks of %d", chunk)
			}
		})
	}
}

func TestPiecesAreCutBetweenCharacters(t *testing.T) {
	for _, char := range []string{"é", "€", "😀", "\x80"} {
		for maxLine := 1; maxLine <= 12; maxLine++ {
			for lead := range 4 {
				text := strings.Repeat("x", lead) + strings.Repeat(char, 6)
				for chunk := 1; chunk <= len(text)+1; chunk++ {
					got, held := deliver(text+"\n", maxLine, chunk)
					require.Empty(t, held)
					var joined strings.Builder
					for i, piece := range got {
						body := strings.TrimRight(piece, "+.")
						if last := i == len(got)-1; last && len(text) > maxLine {
							require.True(t, strings.HasSuffix(piece, "."), "%q is the last", piece)
						}
						require.LessOrEqual(t, len(body), maxLine)
						require.NotEmpty(t, body)
						if maxLine >= utf8.UTFMax && utf8.ValidString(text) {
							require.True(t, utf8.ValidString(body), "%q, at most %d", body, maxLine)
						}
						joined.WriteString(body)
					}
					require.Equal(t, text, joined.String())
				}
			}
		}
	}
}

func TestLineLongerThanTheBuffer(t *testing.T) {
	for name, size := range map[string]int{
		"10 KB": 10_000, "100 KB": 100_000, "2 MB": 2_000_000,
		"the buffer": readSize, "the buffer and its end": readSize - 1, "the buffer with a fingerprint": readSize + position.Window,
		"the longest": 1 << 20, "one more": 1<<20 + 1,
	} {
		t.Run(name, func(t *testing.T) {
			s, w := newLog(t, 0)
			w.line("before")
			w.write(strings.Repeat("x", size))
			s.look()
			w.write("\n")
			w.line("after")
			s.look()

			got := s.sink.printed()
			require.Equal(t, "before", got[0])
			require.Equal(t, "after", got[len(got)-1])
			var joined int
			for _, piece := range got[1 : len(got)-1] {
				body := strings.TrimRight(piece, "+.")
				require.LessOrEqual(t, len(body), s.cfg.MaxLineBytes)
				joined += len(body)
			}
			require.Equal(t, size, joined)
			require.EqualValues(t, 3, s.tailer.Status().Lines)
			require.LessOrEqual(t, cap(s.tailer.buf), position.Window+readSize, "the large buffer is given back")
		})
	}
}

func TestPiecesGoOnAfterAKill(t *testing.T) {
	s := newSite(t)
	s.cfg.MaxLineBytes = 1000
	w := newWriter(t, s.path)
	w.write(strings.Repeat("a", 1500))
	s.look()
	s.want([]string{strings.Repeat("a", 1000) + "+"})
	s.kill()
	w.write("\nnext\n")
	s.look()
	s.want([]string{strings.Repeat("a", 1000) + "+", strings.Repeat("a", 500) + ".", "next"})
}
