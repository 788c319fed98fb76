package tail

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/lines"
	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
)

// A writer plays the program that writes the log. It knows every line.
type writer struct {
	t     testing.TB
	path  string
	file  *os.File
	n     int      // lines begun
	lines []string // ended
	torn  string   // what is written of a line that has no end yet
	name  string   // of this writer, in its lines
}

func newWriter(t testing.TB, path string) *writer {
	w := &writer{t: t, path: path}
	w.open()
	t.Cleanup(w.close)
	return w
}

// open opens the log, which it makes where there is none.
func (w *writer) open() { w.openAs(os.O_CREATE | os.O_APPEND) }

// openWithoutAppend opens the log, which is there, to write from its beginning.
func (w *writer) openWithoutAppend() { w.openAs(0) }

func (w *writer) openAs(flags int) {
	w.t.Helper()
	w.close()
	file, err := os.OpenFile(w.path, os.O_WRONLY|flags, 0o644)
	require.NoError(w.t, err)
	w.file = file
}

func (w *writer) close() {
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
}

// write writes bytes as they are.
func (w *writer) write(text string) {
	w.t.Helper()
	_, err := w.file.WriteString(text)
	require.NoError(w.t, err)
}

// line writes one line with this text.
func (w *writer) line(text string) {
	w.t.Helper()
	w.write(text + "\n")
	w.lines = append(w.lines, w.torn+text)
	w.torn = ""
}

// piece writes a part of a line.
func (w *writer) piece(text string) {
	w.t.Helper()
	w.write(text)
	w.torn += text
}

// endLine ends the line of which a piece is written, if there is one.
func (w *writer) endLine() {
	w.t.Helper()
	if w.torn != "" {
		w.line(fmt.Sprintf("end-%d", len(w.lines)))
	}
}

// some writes n lines, all different, with one write(2).
func (w *writer) some(n int) {
	w.t.Helper()
	var text bytes.Buffer
	for range n {
		w.n++
		line := fmt.Sprintf(`{"n":%d,"path":"/%s%s"}`, w.n, w.name, strings.Repeat("x", w.n*7%60))
		w.lines = append(w.lines, line)
		text.WriteString(line + "\n")
	}
	w.write(text.String())
}

// rotate renames the log and its older siblings, as logrotate does, and goes on
// with a new one.
func (w *writer) rotate() {
	w.t.Helper()
	shift(w.t, w.path)
	require.NoError(w.t, os.Rename(w.path, w.path+".1"))
	w.open()
}

// copyTruncate copies the log to a new sibling and truncates it.
func (w *writer) copyTruncate() {
	w.t.Helper()
	shift(w.t, w.path)
	copyFile(w.t, w.path, w.path+".1")
	require.NoError(w.t, os.Truncate(w.path, 0))
}

// shift moves each sibling to the next number, so that .1 is free.
func shift(t testing.TB, path string) {
	t.Helper()
	last := 0
	for exists(numbered(path, last+1)) {
		last++
	}
	for ; last > 0; last-- {
		require.NoError(t, os.Rename(numbered(path, last), numbered(path, last+1)))
	}
}

func numbered(path string, n int) string { return fmt.Sprintf("%s.%d", path, n) }

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	require.NoError(t, os.WriteFile(to, content(t, from), 0o644))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// check tells what is wrong with what was printed: each line is to be there, in
// order; only after a kill may it go back, by a batch, and it does so at most as
// often as there were kills.
func check(want, got []string, kills int) error {
	place := make(map[string]int, len(want))
	for i, line := range want {
		place[line] = i
	}
	next, bytes, back := 0, 0, 0 // the first line that is not printed yet
	for at, line := range got {
		i, known := place[line]
		switch {
		case !known:
			return fmt.Errorf("nobody wrote what is printed as line %d: %.200q", at, line)
		case i > next:
			return fmt.Errorf("lines are missing: %.200q is the first of %d, then comes %.200q", want[next], i-next, line)
		case i == next:
			next, bytes = next+1, 0
			continue
		}
		if bytes == 0 || i <= place[got[at-1]] {
			back++
			bytes = 0
		}
		if bytes += len(line) + 1; bytes > position.Window+lines.BatchSize { // the most that one read takes
			return fmt.Errorf("more than a batch is printed again, up to %.200q", line)
		}
	}
	if next < len(want) {
		return fmt.Errorf("lines are missing: %.200q is the first of %d at the end", want[next], len(want)-next)
	}
	if back > kills {
		return fmt.Errorf("lines are printed again %d times after %d kills", back, kills)
	}
	return nil
}

// afterATick returns when a file written now has a later time than this one: the kernel's
// clock for them may go on by some milliseconds at a time.
func afterATick(t testing.TB, path string) {
	t.Helper()
	before := look(t, path)
	probe := t.TempDir() + "/probe"
	require.Eventually(t, func() bool {
		require.NoError(t, os.WriteFile(probe, []byte("x"), 0o600))
		return look(t, probe).Modified > before.Modified
	}, patience, 1e6)
}

// look looks at a file.
func look(t testing.TB, path string) logfiles.File {
	t.Helper()
	file, err := logfiles.New(path).Live()
	require.NoError(t, err)
	return file
}

func size(t testing.TB, path string) int64 { return look(t, path).Size }
