package enrich

import (
	"encoding/json"
	"strings"
	"testing"
)

// corpus is what the fuzzers begin with: each rule of the grammar, kept and broken.
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
	nested(20), strings.Repeat("[", 100), strings.Repeat(`{"a":[`, 20) + strings.Repeat("]}", 20),
}

func FuzzValid(f *testing.F) {
	for _, line := range corpus {
		f.Add([]byte(line))
	}
	var v validator
	f.Fuzz(func(t *testing.T, line []byte) {
		want := json.Valid(line) && depth(line) <= maxDepth
		if got := v.valid(line); got != want {
			t.Errorf("valid(%q) = %v, json.Valid and not too deep: %v", line, got, want)
		}
	})
}
