package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mostBuffered is what the comment at spillSize promises, and what append may take
// more than it needs.
const mostBuffered = 256<<10 + 64<<10

// fill returns about n bytes that are pattern again and again.
func fill(pattern string, n int) string { return strings.Repeat(pattern, n/len(pattern)+1) }

func TestLineOfAnyLengthIsOneRecord(t *testing.T) {
	const size = 100_000
	for name, line := range map[string]string{
		"JSON":                                `{"message":"` + fill("abcdefg ", size) + `"}`,
		"JSON with white space at every edge": "[" + fill(" 1 ,", size) + " 1 ]",
		"JSON with characters of four bytes":  `["` + fill("🎉", size) + `"]`,
		"JSON with invalid UTF-8":             `["` + fill("é\xff\xe4\xb8", size) + `"]`,
		"deep JSON":                           strings.Repeat("[", 64) + fill(" ", size) + strings.Repeat("]", 64),
		"too deep":                            nested(100_000),
		"text":                                fill("GET /api/users 200 ", size),
		"text with characters of two bytes":   fill("é", size),
		"text with characters of three bytes": fill("世", size),
		"text with characters of four bytes":  fill("🎉", size),
		"invalid UTF-8":                       fill("\xff", size),
		"bytes that only follow others":       fill("\x80", size),
		"first bytes only":                    fill("\xf0", size),
		"control characters":                  fill("\x01", size),
		"DEL":                                 fill("\x7f", size),
		"C1 control characters":               fill("\u0085", size),
		"JSON with C1 control characters":     `["` + fill("\u0085", size) + `"]`,
		"NULs":                                fill("\x00", size),
		"quotes and backslashes":              fill(`"\`, size),
		"JSON that ends too early":            `{"message":"` + fill("x", size),
	} {
		t.Run(name, func(t *testing.T) {
			// Each shift moves the chunks' edges to another place in the pattern.
			for shift := range 4 {
				record(t, strings.Repeat(" ", shift)+line)
			}
		})
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

func TestPiecesArePartial(t *testing.T) {
	var out bytes.Buffer
	p := NewPrinter(&out, "pod-0", []Field{{"zone", "a"}})
	p.Piece([]byte(`{"a":1}`), false)
	p.Piece(bytes.Repeat([]byte("long"), chunkSize), false)
	p.Piece(nil, true)
	require.NoError(t, p.Flush())

	type record struct {
		Raw     string
		Host    string
		Zone    string
		Partial bool
	}
	records := json.NewDecoder(&out)
	for _, want := range []record{
		{`{"a":1}`, "pod-0", "a", true}, // JSON, but text all the same: a piece is no value
		{strings.Repeat("long", chunkSize), "pod-0", "a", true},
		{"", "pod-0", "a", false},
	} {
		var got record
		require.NoError(t, records.Decode(&got))
		assert.Equal(t, want, got)
	}
	assert.ErrorIs(t, records.Decode(&record{}), io.EOF)
	assert.Zero(t, p.Malformed(), "pieces are counted as split lines")
}

// writes notes how large each write is, and fails from one on.
type writes struct {
	sizes []int
	fail  int // 0: never
}

var errDiskOnFire = errors.New("disk on fire")

func (w *writes) Write(b []byte) (int, error) {
	if w.sizes = append(w.sizes, len(b)); len(w.sizes) == w.fail {
		return 0, errDiskOnFire
	}
	return len(b), nil
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
}

func TestBufferStaysBoundedWithoutFlush(t *testing.T) {
	w := &writes{}
	p := NewPrinter(w, "pod-0", nil)
	for range 10_000 {
		p.Line([]byte(accessLine))
		p.Line([]byte(plainLine))
	}
	assert.LessOrEqual(t, cap(p.buf), mostBuffered)
	require.NoError(t, p.Flush())
	assert.LessOrEqual(t, slices.Max(w.sizes), mostBuffered)
}

func TestNothingIsWrittenAfterAnError(t *testing.T) {
	w := &writes{fail: 2}
	p := NewPrinter(w, "pod-0", nil)
	p.Line([]byte("one"))
	require.NoError(t, p.Flush())
	p.Line([]byte("two"))
	require.ErrorIs(t, p.Flush(), errDiskOnFire)
	for range 100 {
		p.Line([]byte(fill("three", chunkSize)))
		p.Piece([]byte("four"), true)
	}
	require.ErrorIs(t, p.Flush(), errDiskOnFire, "it stays")
	assert.Len(t, w.sizes, 2)
	assert.LessOrEqual(t, cap(p.buf), mostBuffered)
	assert.Zero(t, p.Blocked())
}

func TestBlockedWriteIsTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		p := NewPrinter(out, "pod-0", nil)
		assert.Zero(t, p.Blocked())
		assert.Zero(t, p.Writing())

		var flushed atomic.Bool
		go func() {
			p.Line([]byte("one"))
			assert.NoError(t, p.Flush())
			flushed.Store(true)
		}()
		synctest.Wait()
		time.Sleep(3 * time.Second) // of the bubble's clock
		assert.Equal(t, 3*time.Second, p.Blocked())
		assert.Equal(t, 3*time.Second, p.Writing(), "also while it lasts")
		assert.False(t, flushed.Load())

		_, err := in.Read(make([]byte, 4096))
		require.NoError(t, err)
		synctest.Wait()
		assert.True(t, flushed.Load())
		time.Sleep(time.Second)
		assert.Zero(t, p.Blocked())
		assert.Equal(t, 3*time.Second, p.Writing())
	})
}

func TestBatchIsStampedWhenItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewPrinter(&out, "pod-0", nil)
		for range 2 {
			p.Line([]byte("1"))
			time.Sleep(5 * time.Second)
			p.Line([]byte("2"))
			require.NoError(t, p.Flush())
		}
		assert.Equal(t, 2, strings.Count(out.String(), `"processed_at":"2000-01-01T00:00:00Z"`))
		assert.Equal(t, 2, strings.Count(out.String(), `"processed_at":"2000-01-01T00:00:05Z"`))
	})
}
