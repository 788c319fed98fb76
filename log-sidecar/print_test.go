package main

import (
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

func TestLongLinesUpToTheLimit(t *testing.T) {
	s := newSite(t)
	sc := s.start(t)
	text100K := strings.Repeat("世界-", 100_000/7)
	whole := []string{text100K, `{"message":"` + text100K + `"}`, strings.Repeat("x", 1<<20)}
	long := `{"message":"` + strings.Repeat("🎉 2 MB ", 220_000) + `"}` // JSON, but a piece of it is none
	s.write(t, strings.Join(whole, "\n")+"\n"+long+"\nafter\n")
	eventually(t, "the line after it", func() bool { return strings.Contains(sc.out.tail(), `"raw":"after"`) })
	records := sc.records(t)
	for i, line := range whole {
		assertPieces(t, records[i:i+1], line)
	}
	assert.Equal(t, whole[1], string(records[1].Raw))
	assertPieces(t, records[len(whole):len(records)-1], long)
	sc.assertSmall(t)
}

// assertPieces wants records to be the pieces of line.
func assertPieces(t *testing.T, records []entry, line string) {
	t.Helper()
	var whole strings.Builder
	for i, r := range records {
		assert.Equal(t, i < len(records)-1, r.Partial, "piece %d", i)
		require.True(t, len(records) == 1 || r.Raw[0] == '"', "a piece is a string")
		whole.WriteString(r.text(t))
	}
	assert.True(t, line == whole.String(), "the pieces are not what was written") // too long to show
}

func TestLineOf50MB(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	block := strings.Repeat("0123456789 größe 世界 🎉 \"quoted\" \\ \t", 30_000)
	var line strings.Builder
	for line.Len() < 50_000_000 {
		app.write(t, block)
		line.WriteString(block)
	}
	// All but what may yet turn out to be the last piece.
	eventually(t, "pieces", func() bool { return sc.out.lines() >= line.Len()>>20 })
	pieces := sc.out.String()
	assert.Equal(t, strings.Count(pieces, "\n"), strings.Count(pieces, "\"partial\":true}\n"))
	app.write(t, "\nshort\n")
	eventually(t, "the line after it", func() bool { return strings.Contains(sc.out.tail(), `"raw":"short"`) })
	records := sc.records(t)
	assertPieces(t, records[:len(records)-1], line.String())
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

func TestKilledItGoesOn(t *testing.T) {
	s := newSite(t)
	s.write(t, numbered(0, 100))
	first := s.start(t)
	first.printsNumbered(t, 100)
	eventually(t, "the position", func() bool { return first.metric(t, "lag_bytes") == 0 })
	first.kill(t)
	s.write(t, "one\n")
	s.rotate(t)
	s.write(t, "two\n")
	s.start(t).prints(t, "one", "two")
}
