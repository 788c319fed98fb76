package position

import (
	"bytes"
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

func isHeldBy(t testing.TB, p *Position, content string) bool {
	t.Helper()
	held, err := p.IsHeldBy(strings.NewReader(content))
	require.NoError(t, err)
	if held && content[:min(len(content), 1)] != "\x00" {
		assert.True(t, p.MayBeHeldBy([]byte(content[:min(len(content), Window)])), "what is held may be held")
	}
	return held
}

// walk advances over all of content by these steps, again and again, and checks that it
// comes to the same positions as At. What is read begins at most Window bytes before the
// position. NULs are passed over, without being read, where passing says so.
func walk(t testing.TB, content []byte, steps []int, passing bool) {
	t.Helper()
	var p Position
	for i := 0; int(p.Offset) < len(content); i++ {
		rest := content[p.Offset:]
		nuls := 0
		if passing {
			nuls = len(rest) - len(bytes.TrimLeft(rest, "\x00"))
		}
		if nuls == len(rest) {
			return // a position never lies behind NULs alone
		}
		start, n := int(p.Offset)+nuls, min(steps[i%len(steps)], len(rest)-nuls)
		p.Advance(int64(nuls), content[max(0, start-Window):start+n], n)
		want, err := At(bytes.NewReader(content), p.Offset)
		require.NoError(t, err)
		require.Equal(t, want, p)
		require.True(t, isHeldBy(t, &p, string(content)), "at %d", p.Offset)
	}
}

func TestPositionIsTheSameByAnySteps(t *testing.T) {
	nuls := func(n int) string { return strings.Repeat("\x00", n) }
	for name, content := range map[string]string{
		"lines":                           lines(40),
		"one line again and again":        strings.Repeat("GET /healthz\n", 80),
		"a few bytes":                     "a\n",
		"nearly as much as a fingerprint": lines(20)[:Window-1],
		"as much as a fingerprint":        lines(20)[:Window],
		"more than a fingerprint":         lines(20)[:Window+1],
		"NULs first":                      nuls(10) + lines(30),
		"NULs over all of the head":       nuls(Window) + lines(30),
		"NULs over more than the head":    nuls(3*Window) + lines(30),
		"NULs across the end of the head": lines(10)[:200] + nuls(100) + lines(30),
		"NULs up to the end of the head":  lines(10)[:200] + nuls(Window-200) + lines(30),
		"NULs all over":                   strings.ReplaceAll(lines(40), "line", nuls(7)),
		"NULs at the end":                 lines(10) + nuls(50),
	} {
		t.Run(name, func(t *testing.T) {
			for _, steps := range [][]int{{1}, {2, 3, 5}, {64}, {Window - 1}, {Window}, {Window + 1}, {1, 1000}, {10_000}} {
				walk(t, []byte(content), steps, false)
				walk(t, []byte(content), steps, true)
			}
		})
	}
}

func FuzzAdvance(f *testing.F) {
	f.Add([]byte(lines(40)), []byte{1, 200}, true)
	f.Add([]byte(strings.Repeat("\x00", 300)+lines(30)), []byte{90}, true)
	f.Add([]byte(lines(3)+strings.Repeat("\x00", 200)+lines(30)), []byte{255, 255, 255}, false)
	f.Fuzz(func(t *testing.T, content, stepBytes []byte, passing bool) {
		steps := []int{1000}
		for _, b := range stepBytes {
			steps = append(steps, int(b)+1)
		}
		walk(t, content, steps, passing)
	})
}

func TestOtherContentDoesNotHoldThePosition(t *testing.T) {
	for _, n := range []int{1, 30, Window - 1, Window, Window + 1, 2 * Window, 1000} {
		content := lines(50)[:n]
		p := at(t, content)
		require.True(t, isHeldBy(t, &p, content))
		require.True(t, isHeldBy(t, &p, content+"more\n"))
		for name, other := range map[string]string{
			"nothing":                            "",
			"truncated by a byte":                content[:n-1],
			"truncated":                          content[:n/2],
			"truncated, written anew and larger": strings.ToUpper(lines(50)),
			"truncated, and NULs in its place":   strings.Repeat("\x00", n) + "more\n",
			"another first byte":                 "x" + content[1:],
			"another last byte":                  content[:n-1] + "x",
			"one byte more at the beginning":     "x" + content,
			"one byte less at the beginning":     content[1:] + "more\n",
		} {
			assert.False(t, isHeldBy(t, &p, other), "%d bytes: %s", n, name)
			assert.True(t, isHeldBy(t, &Position{}, other), "where nothing was printed")
		}
	}
}

func TestPunchedHeadHoldsThePosition(t *testing.T) {
	content := lines(50)
	for _, test := range []struct {
		name     string
		from, to int
		offset   int
		want     bool
	}{
		{"all of the head", 0, Window, len(content), true},
		{"a part of the head", 0, 10, len(content), true},
		{"up to the tail", 0, len(content) - Window, len(content), true},
		{"into the tail", 0, len(content) - Window + 1, len(content), false},
		{"everything", 0, len(content), len(content), false},
		{"not from the beginning", 1, Window, len(content), false},
		{"behind the position", 2 * Window, len(content), 2 * Window, true},
		{"the tail is in it", 0, 100, Window + 100, true},
		{"the tail reaches into it", 0, 100, Window + 99, false},
		{"the head is the tail", 0, 100, Window, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := at(t, content[:test.offset])
			punched := content[:test.from] + strings.Repeat("\x00", test.to-test.from) + content[test.to:]
			assert.Equal(t, test.want, isHeldBy(t, &p, punched))
		})
	}
}

func TestHeadTellsWhatMayBeHeld(t *testing.T) {
	content := lines(50)
	for _, test := range []struct {
		name   string
		offset int
		head   string
		want   bool
		not    bool // the head excludes it
	}{
		{"nothing printed", 0, "", true, false},
		{"nothing printed, any head", 0, "x", true, false},
		{"its own head", 1000, content[:Window], true, false},
		{"its own short head", 100, content[:100], true, false},
		{"more than its own short head", 100, content[:Window], true, false},
		{"too short a head", 1000, content[:Window-1], false, false},
		{"too short a file", 100, content[:99], false, false},
		{"an empty file", 100, "", false, false},
		{"another head", 1000, "x" + content[1:Window], false, true},
		{"another head of a short one", 100, "x" + content[1:100], false, true},
		{"a head that was punched out", 1000, "\x00" + content[1:Window], false, false},
		{"the same head, then something else", 100, content[:100] + "x", true, false},
	} {
		p := at(t, content[:test.offset])
		assert.Equal(t, test.want, p.MayBeHeldBy([]byte(test.head)), test.name)
		assert.Equal(t, test.not, p.Excludes([]byte(test.head)), test.name)
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
		{"a byte", "a", false},
		{"one byte too few", lines(50)[:Proof-1], false},
		{"enough", lines(50)[:Proof], true},
		{"lines", lines(50), true},
		{"a byte again and again", strings.Repeat("a", 1000), false},
		{"a short line again and again", strings.Repeat(line(10), 100), false},
		{"a line of 32 bytes twice", strings.Repeat(line(32), 2), false},
		{"an access line twice", strings.Repeat(line(90), 2), false},
		{"an access line again and again", strings.Repeat(line(90), 10), false},
		{"two lines by turns", strings.Repeat(line(50)+line(70), 10), false},
		{"a line of 192 bytes again and again", strings.Repeat(line(192), 10), false},
		{"a line of 250 bytes again and again", strings.Repeat(line(250), 10), false},
		{"a long line again and again", strings.Repeat(line(900), 10), false},
		{"a line again and again, then another", strings.Repeat(line(30), 20) + lines(10)[150:], true},
		{"other lines, then one again and again", lines(50) + strings.Repeat(line(30), 20), false},
		{"NULs, then lines", strings.Repeat("\x00", 300) + lines(10), true},
	} {
		p := at(t, test.content)
		got, err := p.Proves(strings.NewReader(test.content))
		require.NoError(t, err)
		assert.Equal(t, test.want, got, test.name)
	}
}
