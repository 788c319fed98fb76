package position

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lines returns n lines of about 30 bytes, each another one.
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d of an access log\n", i)
	}
	return b.String()
}

// at returns the position behind all of content.
func at(t testing.TB, content string) Position {
	t.Helper()
	p, err := At(strings.NewReader(content), int64(len(content)))
	require.NoError(t, err)
	return p
}

func nuls(n int) string { return strings.Repeat("\x00", n) }

// heldBy returns what p says of a file with this content: whether it may hold p, by its
// head, and whether it does.
func heldBy(t testing.TB, p *Position, content string) (may, does bool) {
	t.Helper()
	does, err := p.IsHeldBy(strings.NewReader(content))
	require.NoError(t, err)
	return p.MayBeHeldBy([]byte(content[:min(len(content), Window)])), does
}

// Whatever is read at once, Advance comes to the same positions as At. What it is given
// begins at most Window bytes before the position; NULs are passed over unread, or not.
func FuzzAdvance(f *testing.F) {
	for _, content := range []string{
		lines(40),
		strings.Repeat("GET /healthz\n", 80),
		"a\n",
		lines(20)[:Window-1], lines(20)[:Window], lines(20)[:Window+1],
		nuls(10) + lines(30), nuls(Window) + lines(30), nuls(3*Window) + lines(30),
		lines(10)[:200] + nuls(100) + lines(30),        // across the end of the head
		lines(10)[:200] + nuls(Window-200) + lines(30), // up to it
		strings.ReplaceAll(lines(40), "line", nuls(7)),
		lines(10) + nuls(50),
	} {
		for _, steps := range [][2]uint16{{1, 1}, {2, 3}, {64, 64}, {Window - 1, Window}, {Window + 1, Window + 1}, {1, 1000}, {10_000, 1}} {
			f.Add(content, steps[0], steps[1], true)
			f.Add(content, steps[0], steps[1], false)
		}
	}
	f.Fuzz(func(t *testing.T, content string, step, nextStep uint16, passNULs bool) {
		var p Position
		for {
			may, does := heldBy(t, &p, content)
			require.True(t, may && does, "at %d", p.Offset)
			rest := content[p.Offset:]
			passed := 0
			if passNULs {
				passed = len(rest) - len(strings.TrimLeft(rest, "\x00"))
			}
			if passed == len(rest) {
				return // at the end; a position never lies behind NULs alone
			}
			start, n := int(p.Offset)+passed, min(max(int(step), 1), len(rest)-passed)
			p.Advance(int64(passed), []byte(content[max(0, start-Window):start+n]), n)
			require.Equal(t, at(t, content[:start+n]), p)
			step, nextStep = nextStep, step
		}
	})
}

func TestHeadExcludesThePosition(t *testing.T) {
	content := lines(50)
	for _, test := range []struct {
		name   string
		offset int
		head   string
		want   bool
	}{
		{"its own", 1000, content[:Window], false},
		{"its own, and more", 100, content[:Window], false},
		{"another one", 1000, "x" + content[1:Window], true},
		{"another one of a short file", 100, "x" + content[1:100], true},
		{"one that is too short to tell", 1000, "x" + content[1:Window-1], false},
		{"one that was punched out", 1000, nuls(1) + content[1:Window], false},
		{"any, where nothing is printed", 0, "x", false},
	} {
		p := at(t, content[:test.offset])
		assert.Equal(t, test.want, p.Excludes([]byte(test.head)), test.name)
	}
}

func TestContentTellsWhatHoldsThePosition(t *testing.T) {
	for _, offset := range []int{2, 30, Window - 1, Window, Window + 1, 2 * Window, 1000} {
		content := lines(50)[:offset]
		beforeTail := max(0, offset-Window)
		for _, test := range []struct {
			name, file string
			may, does  bool
		}{
			{"the same", content, true, true},
			{"more", content + "more\n", true, true},
			{"nothing", "", false, false},
			{"truncated by a byte", content[:offset-1], offset > Window, false},
			{"truncated", content[:offset/2], offset/2 >= Window, false},
			{"truncated, written anew and larger", strings.ToUpper(lines(50)), false, false},
			{"truncated, and NULs in its place", nuls(offset) + "more\n", false, false},
			{"another first byte", "x" + content[1:], false, false},
			{"another last byte", content[:offset-1] + "x", offset > Window, false},
			{"one byte more at the beginning", "x" + content, false, false},
			{"one byte less at the beginning", content[1:] + "more\n", false, false},
			// Its beginning was punched out, which leaves NULs.
			{"punched up to the tail", nuls(beforeTail) + content[beforeTail:], offset <= Window, true},
			{"punched into the tail", nuls(beforeTail+1) + content[beforeTail+1:], false, false},
			{"punched behind its first byte", content[:1] + nuls(1) + content[2:], false, false},
		} {
			p := at(t, content)
			may, does := heldBy(t, &p, test.file)
			assert.Equal(t, test.may, may, "%d bytes: %s", offset, test.name)
			assert.Equal(t, test.does, does, "%d bytes: %s", offset, test.name)
		}
	}
}

// The same lines come again in another file by chance, or because an app begins each life
// with them.
func TestRepeatedLinesProveNothing(t *testing.T) {
	line := func(n int) string { return lines(50)[:n-1] + "\n" }
	for _, test := range []struct {
		name, content string
		want          bool
	}{
		{"nothing", "", false},
		{"one byte too few", lines(50)[:Proof-1], false},
		{"enough", lines(50)[:Proof], true},
		{"a byte again and again", strings.Repeat("a", 1000), false},
		{"a line three times", strings.Repeat(line(50), 3), false},
		{"an access line twice", strings.Repeat(line(90), 2), false},
		{"less than half of it twice", lines(50)[:120] + lines(50)[:60], true},
		{"a line of 250 bytes again and again", strings.Repeat(line(250), 10), false},
		{"a long line again and again", strings.Repeat(line(900), 10), false},
		{"a line again and again, then another", strings.Repeat(line(30), 20) + lines(10)[150:], true},
		{"many other lines, then one again and again", lines(300) + strings.Repeat(line(30), 20), false},
		{"NULs, then lines", nuls(300) + lines(10), true},
	} {
		p := at(t, test.content)
		got, err := p.Proves(strings.NewReader(test.content))
		require.NoError(t, err)
		assert.Equal(t, test.want, got, test.name)
	}
}
