package lines

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// A sink keeps what it is given. A piece is kept with a mark, "+" where the line goes on
// and "." where it ends.
type sink struct{ lines []string }

func (s *sink) Line(line []byte) { s.lines = append(s.lines, string(line)) }
func (s *sink) Piece(piece []byte, last bool) {
	s.lines = append(s.lines, string(piece)+map[bool]string{true: ".", false: "+"}[last])
}
func (s *sink) Flush() error { return nil }

// deliver hands data to a reader with this MaxLineBytes, in chunks of at most
// chunk bytes, as a file that grows would, and returns what the sink got and what
// was held back.
func deliver(data string, maxLine, chunk int) (got []string, held string) {
	s := &sink{}
	r := NewReader(s, maxLine, func() {})
	split := false
	for pending := ""; ; {
		n := min(chunk, len(data))
		pending, data = pending+data[:n], data[n:]
		n, split = r.cut([]byte(pending), split, false)
		pending = pending[n:]
		if len(data) == 0 {
			return s.lines, pending
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
