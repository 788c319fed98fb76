package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	accessLine  = `{"timestamp":"2026-11-22T15:43:51Z","method":"GET","path":"/api/users/173","status":200}`
	plainLine   = `10.0.0.17 - - [22/Nov/2026:15:43:51 +0000] "GET /api/users HTTP/1.1" 200 17 "-" "curl/8"`
	recordStart = `{"raw":`
	end         = `,"host":"pod-0","processed_at":"2026-11-22T15:43:51Z"}` + "\n"
)

var second = time.Date(2026, 11, 22, 15, 43, 51, 999_999_999, time.UTC)

// printed is what a Printer prints at the time second: one record of any length.
func printed(t *testing.T, print func(*Printer), fields ...Field) []byte {
	t.Helper()
	var out bytes.Buffer
	p := NewPrinter(&out, "pod-0", fields)
	p.stamp(second)
	p.buf = append(p.buf, '\n') // a batch that has begun is not stamped again
	print(p)
	require.NoError(t, p.Flush())
	assert.LessOrEqual(t, cap(p.buf), mostBuffered)
	return out.Bytes()[1:]
}

// record is the record of a line, which it carries.
func record(t *testing.T, line string) string {
	t.Helper()
	isJSON := false
	record := printed(t, func(p *Printer) {
		p.Line([]byte(line))
		isJSON = p.Malformed() == 0
	})
	assert.Equal(t, json.Valid([]byte(line)) && depth(line) <= maxDepth, isJSON)
	assertCarries(t, record, []byte(line))
	return string(record)
}

func TestRecordCarriesTheLine(t *testing.T) {
	for _, test := range []struct{ name, line, raw string }{
		{"object", `{"a":1}`, `{"a":1}`},
		{"its white space", " \t{ \"a\" :\r[ 1 , 2 ] } ", " \t{ \"a\" :\r[ 1 , 2 ] } "},
		{"keys that stand twice", `{"a":1,"a":2}`, `{"a":1,"a":2}`},
		{"a number that no float64 holds", `12345678901234567890.000000000001e999`, `12345678901234567890.000000000001e999`},
		{"array, string, number, words", `[[],{},"x",-0.5e-7,true,false,null]`, `[[],{},"x",-0.5e-7,true,false,null]`},
		{"escapes", `"\"\\\/\b\f\n\r\t\u00e9\ud800"`, `"\"\\\/\b\f\n\r\t\u00e9\ud800"`},
		{"what HTML would escape", `"<a href='x'>&` + "\u2028\"", `"<a href='x'>&` + "\u2028\""},
		{"invalid UTF-8 in JSON", "{\"a\":\"x\xffy\xc3\"}", "{\"a\":\"x\ufffdy\ufffd\"}"},

		{"text", `GET / 200`, `"GET / 200"`},
		{"quotes and backslashes", `a "quoted" C:\path`, `"a \"quoted\" C:\\path"`},
		{"control characters", "\x00\x01\b\t\f\r\x1b[31m\x7f", `"\u0000\u0001\b\t\f\r\u001b[31m\u007f"`},
		{"other scripts", "héllo 世界 🎉", `"héllo 世界 🎉"`},
		{"invalid UTF-8 in text", "a\xff\xfe\xe4\xb8b\xed\xa0\x80", "\"a\ufffd\ufffd\ufffd\ufffdb\ufffd\ufffd\ufffd\""},
		{"a character that is U+FFFD itself", "a\ufffd", "\"a\ufffd\""},
		{"JSON cut off", `{"a":`, `"{\"a\":"`},
		{"two values", `{} {}`, `"{} {}"`},
		{"a number as nobody writes it", `012`, `"012"`},
		{"not a number", `NaN`, `"NaN"`},
		{"a byte order mark", "\ufeff{}", "\"\ufeff{}\""},
		{"a control character in a string", "\"a\tb\"", `"\"a\tb\""`},
		{"spaces", `  `, `"  "`},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, recordStart+test.raw+end, record(t, test.line))
		})
	}
}

func TestDeepLineIsCarriedAsString(t *testing.T) {
	const objects = 16 // of an array each: 32 deep
	deep := strings.Repeat(`{"a":[`, objects) + `"[[{"` + strings.Repeat("]}", objects)
	for _, test := range []struct {
		name   string
		line   string
		isJSON bool
	}{
		{"64 deep", nested(64), true},
		{"65 deep", nested(65), false},
		{"64 objects", strings.Repeat(`{"a":`, 64) + "1" + strings.Repeat("}", 64), true},
		{"65 objects", strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65), false},
		{"64 deep, by turns", "[[" + deep + "," + strings.Repeat("[", 30) + deep + strings.Repeat("]", 32), true},
		{"65 deep, by turns", "[[" + deep + "," + strings.Repeat("[", 31) + deep + strings.Repeat("]", 33), false},
		{"100,000 deep", nested(100_000), false},
		{"100,000 opened and none closed", strings.Repeat("[", 100_000), false},
		{"many beside each other", "[" + strings.Repeat("[],{},", 20_000) + "[]]", true},
		{"many in strings", `{"` + strings.Repeat("[{", 100) + `":"\"` + strings.Repeat("{[", 100) + `\\"}`, true},
		{"deep behind an escaped quote", `["\"",` + nested(64) + "]", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			asString := strings.HasPrefix(record(t, test.line), recordStart+`"`)
			assert.Equal(t, test.isJSON, !asString)
		})
	}
}

// What a terminal may obey is escaped; what looks like it, and is not, stays.
func TestControlCharactersAreEscaped(t *testing.T) {
	for _, test := range []struct{ name, text, escaped string }{
		{"DEL", "a\x7fb", `a\u007fb`},
		{"the first and last of C1", "\u0080\u009f", `\u0080\u009f`},
		{"what begins a colour", "\u009b31mred", `\u009b31mred`},
		{"one beside the other", "\x7f\u0085\x7f", `\u007f\u0085\u007f`},
		{"among other scripts", "é\u0085世\x7f🎉", `é\u0085世\u007f🎉`},
		{"behind invalid UTF-8", "\xe4\u0085\xff\x7f\xc2", "\ufffd\\u0085\ufffd\\u007f\ufffd"},
		{"neighbours of C1", "~\u00a0¿ÀÂ", "~\u00a0¿ÀÂ"},
		{"the same bytes in other characters", "傀 \U00010080 \u0800", "傀 \U00010080 \u0800"},
		{"bytes that are no characters", "\x80\x9f", "\ufffd\ufffd"},
		{"line separators", "\u2028\u2029", "\u2028\u2029"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for line, raw := range map[string]string{
				`{"a":"` + test.text + `"}`: `{"a":"` + test.escaped + `"}`,
				"text " + test.text:         `"text ` + test.escaped + `"`,
			} {
				assert.Equal(t, recordStart+raw+end, record(t, line))
			}
		})
	}
}

func nested(depth int) string {
	return strings.Repeat("[", depth) + strings.Repeat("]", depth)
}

func TestHostAndFieldsAreEscaped(t *testing.T) {
	p := NewPrinter(nil, `p"od`, []Field{{`q"uote`, "a=b\nc"}, {"é", "\xff"}})
	p.Line([]byte("1"))
	assert.Regexp(t, `^\{"raw":1,"host":"p\\"od","processed_at":"[^"]*","q\\"uote":"a=b\\nc","é":"`+"\ufffd\"}\n$", string(p.buf))
}

func TestProcessedAtIsUTCInSeconds(t *testing.T) {
	p := NewPrinter(nil, "pod-0", nil)
	for _, now := range []time.Time{
		second,
		second.In(time.FixedZone("east", 3600)),
		second.Add(time.Nanosecond),
		second.AddDate(0, 0, -1),
	} {
		p.stamp(now)
		assert.Contains(t, string(p.end), `"processed_at":"`+now.UTC().Format(time.RFC3339)+`"`)
	}
}

// corpus is what the fuzzer begins with: each rule of the grammar, kept and broken.
var corpus = []string{
	"", " ", accessLine, plainLine,
	`{}`, `[]`, `{"a":{"b":[1,{"c":null}]},"d":[[],{}]}`, ` [ 1 , 2 ] `, "\t{\r\"a\" :\n1}",
	`{`, `}`, `[`, `]`, `{]`, `[}`, `{}}`, `[]]`, `[[]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{1:2}`, `{"a" 1}`,
	`{"a":1 "b":2}`, `[1 2]`, `[1,]`, `[,1]`, `[,]`, `{"a":1]`, `[1}`, `,`, `:`, `1,2`, `{} {}`, `"a" "b"`,
	`""`, `"a`, `"`, `"\`, `"\"`, `"\\"`, `"\x"`, `"\u"`, `"\u12"`, `"\u12G4"`, `"\u00e9"`, `"\uD83D\ude00"`, `"\ud800"`,
	`"\u123`, `"\u1234`, "\"\x00\"", "\"\x1f\"", "\"\x7f\"", "\"\n\"", "\"\t\"", "\"\x80\"", "\"\xc3\xa9\"", "\"\xc3\"", "\"\xff",
	`0`, `-`, `-0`, `00`, `01`, `-01`, `1.`, `.1`, `1.0`, `-1.5`, `1e`, `1e+`, `1e-7`, `1E5`, `1.e5`, `+1`, `1x`, `0x1`, `1-`, `0.`, `0e0`,
	`true`, `false`, `null`, `tru`, `nul`, `truee`, `True`, `NaN`, `Infinity`, `nulll`, `t`, `f`, `n`,
	`"12345678`, `"1234567"`, `"12345678"`, `"123456789"`, `"1234567\`, `"12345678\"`, `"123456789 123456789 \u0041"`,
	"\"1234567\x1f\"", "\"12345678\x00\"", "\"1234\x00678\"", "\"héllo wörld, 世界 🎉 and on\"",
	"\ufeff{}", "\x00", "\x00{}", "{}\x00", "\x0b1", "\u00a01", "\xff", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x00b", "\u2028",
	"\"\u0080\"", "\"\u009f\\\u0085\"", "\u00a0\u007f\u009b[31m\xc2", "\"\xe4\u0085\xc2\x7f\"", `{"[":"\"[{"}`,
	nested(20), nested(64), nested(65), strings.Repeat("[", 100), strings.Repeat(`{"a":[`, 20) + strings.Repeat("]}", 20),
}

// FuzzRecord holds a record against what encoding/json makes of the line.
func FuzzRecord(f *testing.F) {
	for _, line := range corpus {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.IndexByte(line, '\n') >= 0 {
			t.Skip("a line has none")
		}
		record(t, string(line))
	})
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

// assertCarries asserts that record is one line of valid JSON whose raw is line.
func assertCarries(t *testing.T, record, line []byte) {
	t.Helper()
	require.True(t, json.Valid(record), "%.500q", record)
	raw, found := bytes.CutPrefix(record, []byte(recordStart))
	require.True(t, found, "%.500q", record)
	raw, found = bytes.CutSuffix(raw, []byte(end))
	require.True(t, found, "%.500q", record)
	require.NotContains(t, string(raw), "\n")
	require.Equal(t, escaped(string(raw)), string(raw))

	// This is how the language reads bytes that are not UTF-8: each is U+FFFD.
	valid := string([]rune(string(line)))
	if json.Valid(line) && depth(string(line)) <= maxDepth {
		require.Equal(t, escaped(valid), string(raw))
		var got, want any
		if json.Unmarshal(line, &want) == nil { // a number may be too large for it
			require.NoError(t, json.Unmarshal(raw, &got), "%.500q", raw)
			require.Equal(t, want, got)
		}
		return
	}
	var got string
	require.NoError(t, json.Unmarshal(raw, &got), "%.500q", raw)
	require.Equal(t, valid, got)
}

// depth is how deep the containers of valid JSON are nested.
func depth(valid string) (deepest int) {
	now, inString := 0, false
	for i := 0; i < len(valid); i++ {
		switch c := valid[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++
		case inString:
		case c == '[' || c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return deepest
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
	for _, bench := range []struct{ name, line string }{
		{"access", accessLine},
		{"text", plainLine},
		{"unicode", `{"message":"héllo wörld, 你好，世界 🎉","level":"info","path":"/straße/größe","n":17.25}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p, line := NewPrinter(io.Discard, "pod-0", nil), []byte(bench.line)
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				p.Line(line)
			}
		})
	}
}
