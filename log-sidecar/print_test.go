package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRecordToTheByte(t *testing.T) {
	s := newSite(t)
	sc := s.start(t)
	before := time.Now().UTC().Truncate(time.Second)
	s.write(t, `{"status":200, "path":"/"}`+"\n")
	eventually(t, "a record", func() bool { return sc.out.lines() == 1 })

	host, err := os.Hostname()
	require.NoError(t, err)
	stamp := sc.records(t)[0].ProcessedAt
	assert.Equal(t, `{"raw":{"status":200, "path":"/"},"host":"`+host+`","processed_at":"`+stamp+`"}`+"\n", sc.out.String())
	at, err := time.Parse("2006-01-02T15:04:05Z", stamp)
	require.NoError(t, err)
	assert.False(t, at.Before(before) || at.After(time.Now()), stamp)
}

func TestOddLines(t *testing.T) {
	s := newSite(t)
	sc := s.start(t)
	var lines []string
	for _, test := range []struct{ written, printed string }{
		{"text", "text"},
		{"CRLF\r", "CRLF"},
		{`{"crlf":true}` + "\r", `{"crlf":true}`},
		{"", ""}, // dropped, as each that prints nothing
		{"\r", ""},
		{"\x00\x00\x00", ""},
		{strings.Repeat("\x00", 100_000) + "after a run of NULs", "after a run of NULs"},
		{"NUL\x00inside\x00", "NUL\x00inside\x00"},
		{"bad\xff\xfeUTF-8\xc3", "bad\ufffd\ufffdUTF-8\ufffd"},
		{"{\"bad\":\"\xff\"}", "{\"bad\":\"\ufffd\"}"},
		{"two\rCRs\r\r", "two\rCRs\r"},
		{"  ", "  "},
		{"\x1b[31mred\x1b[0m\ttab", "\x1b[31mred\x1b[0m\ttab"},
		{`"quoted" \ and 世界 🎉`, `"quoted" \ and 世界 🎉`},
		{strings.Repeat("[", 100_000), strings.Repeat("[", 100_000)},
		{strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)},
		{"the last", "the last"},
	} {
		s.write(t, test.written+"\n")
		if test.printed != "" {
			lines = append(lines, test.printed)
		}
	}
	sc.prints(t, lines...)
}

func TestLineOf50MB(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	block := strings.Repeat("0123456789 größe 世界 🎉 \"quoted\" \\ \t", 30_000)
	written := 0
	for ; written < 50_000_000; written += len(block) {
		app.write(t, block)
	}
	// All but what may yet turn out to be the last piece.
	eventually(t, "pieces, as it comes", func() bool { return sc.out.lines() >= written>>20 })
	pieces := sc.out.lines()
	app.write(t, "\nshort\n")
	eventually(t, "the line after it", func() bool { return strings.Contains(sc.out.tail(), `"raw":"short"`) })
	var whole strings.Builder
	n := 0
	for record := range strings.Lines(sc.out.String()) {
		var piece struct {
			Raw     string
			Partial bool
		}
		require.NoError(t, json.Unmarshal([]byte(record), &piece))
		if n++; n <= pieces {
			require.True(t, piece.Partial)
		}
		whole.WriteString(piece.Raw)
		if !piece.Partial {
			whole.WriteByte('\n')
		}
	}
	want := strings.Repeat(block, written/len(block)) + "\nshort\n"
	assert.True(t, want == whole.String(), "the pieces are not what was written") // too long to show
	sc.assertSmall(t)
	assert.EqualValues(t, 1, sc.metric(t, "split_lines_total"))
	assert.EqualValues(t, 2, sc.metric(t, "lines_total"))
}

func TestBacklogOfManyFiles(t *testing.T) {
	s := newSite(t)
	for i := range 5 {
		s.write(t, numbered(10_000*i, 10_000*(i+1)))
		s.rotate(t)
	}
	s.write(t, numbered(50_000, 60_000))
	sc := s.start(t)
	sc.printsNumbered(t, 60_000)
	sc.assertSmall(t)
}
