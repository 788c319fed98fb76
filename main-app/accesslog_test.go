package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sidecar.example/main-app/internal/logfile"
)

// entry is a line of the log, as a reader of JSON has it.
type entry struct {
	Timestamp, Method, Path string
	Status                  int
}

func TestALogThatFailsNowAndThenIsMentionedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stderr output
		access := &accessLog{log: slog.New(slog.NewJSONHandler(&stderr, nil))}
		for range 3000 { // three seconds, every other line lost
			access.account(errors.New("no space left on device"))
			access.account(nil)
			time.Sleep(time.Millisecond)
		}
		said := strings.Count(stderr.String(), "\n")
		assert.LessOrEqual(t, said, 8)

		time.Sleep(time.Second)
		access.account(nil)
		messages := stderr.messages("written again")
		assert.Equal(t, 3000, messages[len(messages)-1].LinesLost, "the last message is the whole truth")
	})
}

func TestALastingOutageIsMentionedEveryTenSeconds(t *testing.T) {
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

func FuzzAppendLine(f *testing.F) {
	for _, path := range []string{"/", "/ü", "/\xff", "/\"\\\n\x00\x7f", "/\u2028", "<&>", ""} {
		f.Add("GET", path, 200)
	}
	at := time.Date(2026, 11, 22, 16, 43, 51, 987654321, time.FixedZone("CET", 3600))
	f.Fuzz(func(t *testing.T, method, path string, status int) {
		line := appendLine(nil, at, method, path, status)
		var got entry
		require.NoError(t, json.Unmarshal(line, &got), "%s", line)
		valid := func(s string) string { return string([]rune(s)) } // U+FFFD for each invalid byte
		assert.Equal(t, entry{"2026-11-22T15:43:51Z", valid(method), valid(path), status}, got)
		assert.Equal(t, 1, bytes.Count(line, []byte("\n")), "one line: %s", line)
	})
}

// BenchmarkAccessLog is what a request pays for its line; OpenPerLine is the
// simple way, an open, a write and a close for each, to compare it with.
func BenchmarkAccessLog(b *testing.B) {
	path := filepath.Join(b.TempDir(), "access.log")
	file, err := logfile.Open(path, 16<<20, 2)
	require.NoError(b, err)
	access := &accessLog{file: file, log: slog.New(slog.DiscardHandler)}
	defer access.close()
	request := httptest.NewRequest("GET", "/api/users", nil)
	b.SetBytes(int64(len(appendLine(nil, time.Now(), request.Method, request.URL.Path, 200))))
	b.ReportAllocs()
	for b.Loop() {
		access.record(request, 200)
	}
}

func BenchmarkAccessLogOpenPerLine(b *testing.B) {
	path := filepath.Join(b.TempDir(), "access.log")
	line := appendLine(nil, time.Now(), "GET", "/api/users", 200)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		require.NoError(b, err)
		_, err = file.Write(line)
		require.NoError(b, err)
		require.NoError(b, file.Close())
	}
}

func BenchmarkAccessLogAppendLine(b *testing.B) {
	now := time.Now()
	line := appendLine(nil, now, "GET", "/api/users", 200)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		line = appendLine(line[:0], now, "GET", "/api/users", 200)
	}
}
