package record

import (
	"bytes"
	"encoding/json"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	accessLine  = `{"timestamp":"2026-11-22T15:43:51Z","method":"GET","path":"/api/users/173","status":200}`
	plainLine   = `10.0.0.17 - - [22/Nov/2026:15:43:51 +0000] "GET /api/users HTTP/1.1" 200 17 "-" "curl/8"`
	recordStart = `{"raw":`
	end         = `,"host":"pod-0","processed_at":"2026-11-22T15:43:51Z"}` + "\n"

	// mostBuffered is what the comment at spillSize promises, and what append may take
	// more than it needs.
	mostBuffered = 256<<10 + 64<<10
)

var second = time.Date(2026, 11, 22, 15, 43, 51, 999_999_999, time.UTC)

// record is the record of a line, made at the time second. Whatever the line, the record
// is one line of valid JSON, and its raw is what encoding/json makes of the line.
func record(t *testing.T, line string) string {
	t.Helper()
	var out bytes.Buffer
	p := NewPrinter(&out, "pod-0", nil)
	p.stamp(second)
	p.buf = append(p.buf, '\n') // a batch that has begun is not stamped again
	p.Line([]byte(line))
	isJSON := p.Malformed() == 0
	require.NoError(t, p.Flush())
	assert.LessOrEqual(t, cap(p.buf), mostBuffered)

	record := out.String()[1:]
	require.True(t, json.Valid([]byte(record)), "%.500q", record)
	raw, found := strings.CutPrefix(record, recordStart)
	require.True(t, found, "%.500q", record)
	raw, found = strings.CutSuffix(raw, end)
	require.True(t, found, "%.500q", record)
	require.NotContains(t, raw, "\n")

	// This is how the language reads bytes that are not UTF-8: each is U+FFFD.
	valid := string([]rune(line))
	require.Equal(t, json.Valid([]byte(line)) && depth(line) <= maxDepth, isJSON, "%.500q", line)
	if isJSON {
		require.Equal(t, escaped(valid), raw)
	} else {
		var text string
		require.NoError(t, json.Unmarshal([]byte(raw), &text), "%.500q", raw)
		require.Equal(t, valid, text)
		require.Equal(t, escaped(raw), raw)
	}
	return record
}

// depth is how deeply the containers of valid JSON are nested.
func depth(valid string) (deepest int) {
	tokens := jsontext.NewDecoder(strings.NewReader(valid), asRead...)
	for {
		if _, err := tokens.ReadToken(); err != nil {
			return deepest
		}
		deepest = max(deepest, tokens.StackDepth())
	}
}

// escaped is text with DEL and C1 as the escapes that they are wherever they stand.
func escaped(text string) string {
	var b strings.Builder
	for _, r := range text {
		if 0x7f <= r && r <= 0x9f {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func TestRecordCarriesTheLine(t *testing.T) {
	for line, raw := range map[string]string{
		" \t{\"a\" :\r[ -0.50e+7,true,\"<&\u2028\"] }": " \t{\"a\" :\r[ -0.50e+7,true,\"<&\u2028\"] }",
		`{"a":1,"a":"\u00e9\/\ud800"}`:                 `{"a":1,"a":"\u00e9\/\ud800"}`,
		`12345678901234567890.000000000001e999`:        `12345678901234567890.000000000001e999`,
		"{\"a\":\"x\xffy\xc3\"}":                       "{\"a\":\"x\ufffdy\ufffd\"}",

		`GET / 200`:                          `"GET / 200"`,
		`a "quoted" C:\path`:                 `"a \"quoted\" C:\\path"`,
		`{"a":`:                              `"{\"a\":"`,
		"\"a\tb\"":                           `"\"a\tb\""`,
		"\x00\x01\b\t\f\r\x1b[31m":           `"\u0000\u0001\b\t\f\r\u001b[31m"`,
		"  héllo 世界 🎉\u2028\ufffd":           "\"  héllo 世界 🎉\u2028\ufffd\"",
		"a\xff\xfe\xe4\xb8b\xed\xa0\x80\x9f": "\"a\ufffd\ufffd\ufffd\ufffdb\ufffd\ufffd\ufffd\ufffd\"",
	} {
		assert.Equal(t, recordStart+raw+end, record(t, line))
	}
}

// What a terminal may obey is escaped; what looks like it, and is not, stays.
func TestControlCharactersAreEscaped(t *testing.T) {
	for text, escaped := range map[string]string{
		"a\x7fb":                     `a\u007fb`,
		"\u009b31mred":               `\u009b31mred`,
		"~\x7f\u0080\u009f\u00a0¿ÀÂ": `~\u007f\u0080\u009f` + "\u00a0¿ÀÂ", // the first and last of C1, and their neighbours
		"é\u0085世\x7f🎉":              `é\u0085世\u007f🎉`,
		"\xe4\u0085\xff\x7f\xc2":     "\ufffd\\u0085\ufffd\\u007f\ufffd",
		"傀 \U00010080 \u0800 \x80":   "傀 \U00010080 \u0800 \ufffd", // the same bytes in other characters, and alone
	} {
		assert.Equal(t, recordStart+`{"a":"`+escaped+`"}`+end, record(t, `{"a":"`+text+`"}`))
		assert.Equal(t, recordStart+`"text `+escaped+`"`+end, record(t, "text "+text))
	}
}

func nested(depth int) string {
	return strings.Repeat("[", depth) + strings.Repeat("]", depth)
}

func TestDeepLineIsCarriedAsString(t *testing.T) {
	for line, isJSON := range map[string]bool{
		nested(64): true,
		nested(65): false,
		strings.Repeat(`{"a":[`, 32) + strings.Repeat("]}", 32): true,
		strings.Repeat(`{"a":[`, 33) + strings.Repeat("]}", 33): false,
		"[" + nested(63) + "," + nested(63) + "]":               true,
		"[" + nested(63) + "," + nested(64) + "]":               false,
		nested(100_000):                                false,
		strings.Repeat("[", 100_000):                   false,
		"[" + strings.Repeat("[],{},", 20_000) + "[]]": true, // beside each other
		`{"` + strings.Repeat("[{", 100) + `":"\"` + strings.Repeat("{[", 100) + `\\"}`: true, // in strings
		`["\"",` + nested(64) + "]": false,
	} {
		asString := strings.HasPrefix(record(t, line), recordStart+`"`)
		assert.Equal(t, isJSON, !asString, "%.200q", line)
	}
}

// fill returns about n bytes that are pattern again and again.
func fill(pattern string, n int) string { return strings.Repeat(pattern, n/len(pattern)+1) }

func TestLineOfAnyLengthIsOneRecord(t *testing.T) {
	const size = 70_000 // more than two chunks
	lines := []string{"[" + fill(" 1 ,", size) + " 1 ]", strings.Repeat("[", 64) + fill(" ", size) + strings.Repeat("]", 64), `["` + fill("cut off", size)}
	for _, pattern := range []string{"abcdefg ", "é", "世", "🎉", "é\xff\xe4\xb8", "\xff", "\x80", "\xf0", "\x00", "\x7f", "\u0085", `"\`} {
		text := fill(pattern, size)
		lines = append(lines, text, `["`+text+`"]`)
	}
	for _, line := range lines {
		for shift := range 4 { // moves the chunks' edges to another place in the pattern
			record(t, strings.Repeat(" ", shift)+line)
		}
	}
}

// The edges of chunks must not fall inside a character, also where bytes that
// belong to none come after it.
func TestChunksEndBetweenCharacters(t *testing.T) {
	for _, around := range []string{"é", "世", "🎉", "🎉\x80", "🎉\x80\x80", "🎉\x80\x80\x80\x80", "世\x80\x80\x80", "\xf0🎉", "\xe4\xb8世"} {
		for before := chunkSize - 12; before <= chunkSize; before++ {
			record(t, strings.Repeat("x", before)+around+strings.Repeat("y", 20))
		}
	}
	for n := chunkSize - 2; n <= chunkSize+2; n++ {
		record(t, strings.Repeat("x", n))
		record(t, `"`+strings.Repeat("x", n-2)+`"`)
	}
}

// oddLines are JSON, or nearly.
var oddLines = []string{
	"", " ", accessLine, plainLine, ` { "a" : [ 1 , { "b" : null } , -0.5E+7 , "" ] } `, `{"a":1,"a":2}`, `{"[":"\"[{"}`,
	`{`, `]`, `{]`, `[1,]`, `[1 2]`, `{"a"}`, `{1:2}`, `{} {}`, `1,2`, `:`, `01`, `1.`, `1e`, `+1`, `0x1`, `tru`, `truee`, `NaN`,
	`"`, `"\`, `"\"`, `"\\"`, `"\x"`, `"\u12G4"`, `"\uD83D\ude00"`, `"\ud800"`, `"\"\\\/\b\f\n\r\t\u00e9"`, "\"\t\"", "\"\x00\"", "\"\x7f\"",
	"\ufeff{}", "\x00{}", "{}\x00", "\x0b1", "\u00a01", "a\x00b", "\u2028", "\xff", "\"\xff", "\"\xc3\"", "\xed\xa0\x80", "\xf4\x90\x80\x80",
	"\"héllo, 世界 🎉\"", "\"\u0080\"", "\"\u009f\\u0085\"", "\u00a0\u007f\u009b[31m\xc2", "\"\xe4\u0085\xc2\x7f\"",
	"{}" + strings.Repeat(" ", 9_000), "{}" + strings.Repeat(" ", 9_000) + "x", strings.Repeat(" ", 9_000) + "1",
	nested(64), nested(65), strings.Repeat("[", 100), strings.Repeat(`{"a":[`, 20) + strings.Repeat("]}", 20),
}

// What jsontext is not asked for must be what it would say: of lines that can be told
// without, and of those that differ from them in one byte.
func TestLinesNextToOnesToldByTheirForm(t *testing.T) {
	require.True(t, isFlat([]byte(accessLine)))
	require.True(t, isText([]byte(plainLine)))
	for _, line := range []string{`{"a":"b","c":120,"":"é~ ","d":0.50}`, `{"a":1}`, `[1]`, `" "`, ` -12 `, `true`, `null`, ``} {
		for at := range len(line) + 1 {
			record(t, line[:at])
			record(t, line[at:])
			for _, other := range []byte("\x00\t\x1f !\"#\\[]{},:-.019eat~\x7f\x80\xc2\xe2\xff") {
				record(t, line[:at]+string([]byte{other})+line[at:])
				record(t, line[:at]+string([]byte{other})+line[min(at+1, len(line)):])
			}
		}
	}
}

// FuzzRecord holds a record against what encoding/json makes of the line.
func FuzzRecord(f *testing.F) {
	for _, line := range oddLines {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.IndexByte(line, '\n') >= 0 {
			t.Skip("a line has none")
		}
		record(t, string(line))
	})
}

func TestPiecesArePartial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where it is the year 2000
		var out bytes.Buffer
		p := NewPrinter(&out, "pod-0", []Field{{"zone", "a"}})
		long := strings.Repeat("long", chunkSize)
		p.Piece([]byte(`{"a":1}`), false) // a string all the same: a piece is no value
		p.Piece([]byte(long), false)
		p.Piece(nil, true)
		require.NoError(t, p.Flush())
		const end = `,"host":"pod-0","processed_at":"2000-01-01T00:00:00Z","zone":"a"`
		assert.Equal(t, `{"raw":"{\"a\":1}"`+end+`,"partial":true}`+"\n"+
			`{"raw":"`+long+`"`+end+`,"partial":true}`+"\n"+
			`{"raw":""`+end+"}\n", out.String())
		assert.Zero(t, p.Malformed(), "pieces are counted as split lines")
	})
}

func TestHostAndFieldsAreEscaped(t *testing.T) {
	p := NewPrinter(nil, `p"od`, []Field{{`q"uote`, "a=b\nc"}, {"é", "\xff"}})
	p.Line([]byte("1"))
	assert.Regexp(t, `^\{"raw":1,"host":"p\\"od","processed_at":"[^"]*","q\\"uote":"a=b\\nc","é":"`+"\ufffd\"}\n$", string(p.buf))
}

func TestProcessedAtIsUTCInSeconds(t *testing.T) {
	p := NewPrinter(nil, "pod-0", nil)
	for _, now := range []time.Time{second, second.In(time.FixedZone("east", 3600)), second.Add(time.Nanosecond), second.AddDate(0, 0, -1)} {
		p.stamp(now)
		assert.Contains(t, string(p.end), `"processed_at":"`+now.UTC().Format(time.RFC3339)+`"`)
	}
}

func TestBatchIsStampedWhenItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewPrinter(&out, "pod-0", nil)
		for _, now := range []string{"2000-01-01T00:00:00Z", "2000-01-01T00:00:05Z"} {
			p.Line([]byte("1"))
			time.Sleep(5 * time.Second)
			p.Line([]byte("2"))
			require.NoError(t, p.Flush())
			assert.Equal(t, 2, strings.Count(out.String(), `"processed_at":"`+now+`"`))
		}
	})
}

// writes notes how large each write is, and fails with err.
type writes struct {
	sizes []int
	err   error
}

func (w *writes) Write(b []byte) (int, error) {
	w.sizes = append(w.sizes, len(b))
	return len(b), w.err
}

func TestBatchIsOneWrite(t *testing.T) {
	w := &writes{}
	p := NewPrinter(w, "pod-0", nil)
	for range 370 { // 32 KiB, as the tailer reads them
		p.Line([]byte(accessLine))
	}
	for range 2 { // the second has nothing to write
		require.NoError(t, p.Flush())
		assert.Len(t, w.sizes, 1)
	}
	for range 10_000 { // with no Flush
		p.Line([]byte(plainLine))
	}
	assert.LessOrEqual(t, cap(p.buf), mostBuffered)
	assert.LessOrEqual(t, slices.Max(w.sizes), mostBuffered)
}

func TestNothingIsWrittenAfterAnError(t *testing.T) {
	onFire := errors.New("disk on fire")
	w := &writes{err: onFire}
	p := NewPrinter(w, "pod-0", nil)
	for range 100 {
		p.Line([]byte(fill("one", chunkSize)))
		p.Piece([]byte("two"), true)
		require.ErrorIs(t, p.Flush(), onFire, "it stays")
		w.err = nil
	}
	assert.Len(t, w.sizes, 1)
	assert.LessOrEqual(t, cap(p.buf), mostBuffered)
	assert.Zero(t, p.Blocked())
}

func TestBlockedWriteIsTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		p := NewPrinter(out, "pod-0", nil)
		assert.Zero(t, p.Blocked())
		assert.Zero(t, p.Writing())

		p.Line([]byte("one"))
		flushed := make(chan error, 1)
		go func() { flushed <- p.Flush() }()
		time.Sleep(3 * time.Second) // of the bubble's clock
		assert.Equal(t, 3*time.Second, p.Blocked())
		assert.Equal(t, 3*time.Second, p.Writing(), "also while it lasts")
		assert.Empty(t, flushed)

		_, err := in.Read(make([]byte, 4096))
		require.NoError(t, err)
		require.NoError(t, <-flushed)
		time.Sleep(time.Second)
		assert.Zero(t, p.Blocked())
		assert.Equal(t, 3*time.Second, p.Writing())
	})
}

func TestJSONLineAllocatesNothing(t *testing.T) {
	p := NewPrinter(io.Discard, "pod-0", nil)
	for _, text := range []string{accessLine, "{\"invalid\":\"\xff\"}", `"\u00e9"`, "\"\x7f\u0085é\""} {
		line := []byte(text)
		print := func() {
			p.Line(line)
			_ = p.Flush() // io.Discard takes everything
		}
		assert.Zero(t, testing.AllocsPerRun(100, print), text)
	}
}

// BenchmarkAppendRecord is the cost of a line in a batch of a common size.
func BenchmarkAppendRecord(b *testing.B) {
	for name, text := range map[string]string{
		"access":  accessLine,
		"text":    plainLine,
		"unicode": `{"message":"héllo wörld, 你好，世界 🎉","level":"info","path":"/straße/größe","n":17.25}`,
	} {
		b.Run(name, func(b *testing.B) {
			p, line := NewPrinter(io.Discard, "pod-0", nil), []byte(text)
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				p.Line(line)
			}
		})
	}
}
