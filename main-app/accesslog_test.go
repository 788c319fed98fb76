package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// entry is a line of the log, as a reader of JSON has it.
type entry struct {
	Timestamp, Method, Path string
	Status                  int
}

func TestFlickeringLogIsSaidOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr output
		access := &accessLog{log: slog.New(slog.NewJSONHandler(&stderr, nil))}
		for range 3000 { // three seconds, every other line lost
			access.account(errors.New("no space left on device"))
			access.account(nil)
			time.Sleep(time.Millisecond)
		}
		assert.LessOrEqual(t, len(stderr.messages("")), 8)

		time.Sleep(time.Second)
		access.account(nil)
		messages := stderr.messages("written again")
		assert.Equal(t, 3000, messages[len(messages)-1].LinesLost, "the last message is the whole truth")
	})
}

func TestOutageIsSaidEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr output
		access := &accessLog{log: slog.New(slog.NewJSONHandler(&stderr, nil))}
		for range 60 * 100 { // a minute
			access.account(errors.New("no space left on device"))
			time.Sleep(10 * time.Millisecond)
		}
		assert.Len(t, stderr.messages("cannot be written"), 6)
	})
}

func TestValueIsQuotedAndCut(t *testing.T) {
	for s, want := range map[string]string{
		"/plain":                     "/plain",
		"/<a>&ü\u2028 ":              "/<a>&ü\u2028 ",
		"\x00\x1b[31m\n\"\\":         `\u0000\u001b[31m\n\"\\`,
		"\x7e\x7f\u0080\u009b\u00a0": "~\\u007f\\u0080\\u009b\u00a0", // a terminal would obey those between
		"\x9b\xc2":                   "\ufffd\ufffd",                 // a C1 control in Latin-1, and half of one in UTF-8

		strings.Repeat("a", maxValue):            strings.Repeat("a", maxValue),
		strings.Repeat("a", maxValue+1):          strings.Repeat("a", maxValue) + "…",
		"a" + strings.Repeat("ü", maxValue):      "a" + strings.Repeat("ü", maxValue/2-1) + "…",
		"a" + strings.Repeat("🙂", maxValue):      "a" + strings.Repeat("🙂", maxValue/4-1) + "…",
		strings.Repeat("\u009b", maxValue):       strings.Repeat(`\u009b`, maxValue/2) + "…",
		strings.Repeat("\x01", 100*maxValue):     strings.Repeat(`\u0001`, maxValue) + "…",
		"a" + strings.Repeat("\x80", maxValue*2): "a" + strings.Repeat("\ufffd", maxValue-1) + "…",
		// A character before bytes that belong to none.
		strings.Repeat("a", maxValue-5) + "ü" + strings.Repeat("\x80", 9): strings.Repeat("a", maxValue-5) + "ü" + strings.Repeat("\ufffd", 3) + "…",
	} {
		assert.Equal(t, `"`+want+`"`, string(appendString(nil, s)))
	}
}

func FuzzAppendLine(f *testing.F) {
	for _, path := range []string{"/", "/ü", "/\xff", "/\"\\\n\x00\x7f", "/\u2028", "/\u0080\u009b\u00a0", "\x9b\xc2", "<&>", "", strings.Repeat("\x80", 3000)} {
		f.Add("GET", path, 200)
	}
	at := time.Date(2026, 11, 22, 16, 43, 51, 987654321, time.FixedZone("CET", 3600))
	f.Fuzz(func(t *testing.T, method, path string, status int) {
		line := appendLine(nil, at, method, path, status)
		var got entry
		require.NoError(t, json.Unmarshal(line, &got), "%s", line)
		assert.Equal(t, entry{"2026-11-22T15:43:51Z", got.Method, got.Path, status}, got)
		assertLogged(t, method, got.Method)
		assertLogged(t, path, got.Path)
		assert.Equal(t, len(line)-1, bytes.IndexFunc(line, unicode.IsControl), "no control but the newline: %q", line)
	})
}

func assertLogged(t *testing.T, value, got string) {
	t.Helper()
	valid := string([]rune(value)) // U+FFFD for each invalid byte
	if len(value) > maxValue {
		kept, cut := strings.CutSuffix(got, "…")
		assert.True(t, cut && strings.HasPrefix(valid, kept), got)
		assert.Greater(t, utf8.RuneCountInString(kept), maxValue/utf8.UTFMax-utf8.UTFMax)
		return
	}
	assert.Equal(t, valid, got)
}
