package tail

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// discard is a sink that keeps nothing.
type discard struct{}

func (discard) Line([]byte)        {}
func (discard) Piece([]byte, bool) {}
func (discard) Flush() error       { return nil }

var accessLine = []byte(`{"timestamp":"2026-11-22T15:43:51Z","method":"GET","path":"/api/users","status":200}` + "\n")

// backlog makes a log of so many lines, and a tailer that has none of them.
func backlog(b *testing.B, lines int) *Tailer {
	s := newSite(b)
	require.NoError(b, os.WriteFile(s.path, bytes.Repeat(accessLine, lines), 0o644))
	s.cfg.Sink = discard{}
	s.start()
	return s.tailer
}

// One operation is one line of a backlog.
func BenchmarkTailBacklog(b *testing.B) {
	tailer := backlog(b, b.N)
	b.SetBytes(int64(len(accessLine)))
	b.ReportAllocs()
	b.ResetTimer()
	_, err := tailer.look()
	b.StopTimer()
	require.NoError(b, err)
	require.EqualValues(b, b.N, tailer.Status().Lines)
}

// One operation is one look that finds one line.
func BenchmarkTailOneLine(b *testing.B) {
	tailer := backlog(b, 1)
	w := newWriter(b, tailer.cfg.Path)
	_, err := tailer.look()
	require.NoError(b, err)
	b.SetBytes(int64(len(accessLine)))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = w.file.Write(accessLine)
		_, _ = tailer.look()
	}
}
