package main

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestArguments(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	variables := regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\|(?: `(.*?)`)? \\|").FindAllStringSubmatch(string(readme), -1)
	require.Len(t, variables, 8)
	help := `^Usage: log-sidecar .*(\n.*)*`
	for _, v := range variables {
		help += `\n  ` + v[1] + ` .* \(default ` + regexp.QuoteMeta(v[2]) + `\)`
	}
	help += `\n$`
	for _, test := range []struct {
		arg            string
		code           int
		stdout, stderr string
	}{
		{"-version", 0, `^log-sidecar 1\.2\.3-test\n$`, `^$`},
		{"--version", 0, `^log-sidecar 1\.2\.3-test\n$`, `^$`},
		{"-help", 0, help, `^$`},
		{"--help", 0, help, `^$`},
		{"-h", 0, help, `^$`},
		{"-no-such-flag", 2, `^$`, `^unknown argument: -no-such-flag\nUsage: log-sidecar`},
		{"access.log", 2, `^$`, `^unknown argument: access\.log\nUsage: log-sidecar`},
		{"-version=maybe", 2, `^$`, `^unknown argument: -version=maybe\nUsage: log-sidecar`},
		{"--", 2, `^$`, `^unknown argument: --\nUsage: log-sidecar`},
		{"''", 2, `^$`, `^unknown argument: \nUsage: log-sidecar`},
	} {
		t.Run(test.arg, func(t *testing.T) {
			sc := newSite(t, "MAX_LINE_BYTES=bad").launch(t, inShell(`exec "$0" `+test.arg))
			sc.read()
			assert.Equal(t, test.code, sc.exits(t))
			assert.Regexp(t, test.stdout, sc.out.String())
			assert.Regexp(t, test.stderr, sc.stderr.String())
		})
	}
}

// EXTRA_FIELDS end every record, of a piece too.
func TestRecordToTheByte(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	stamp := regexp.MustCompile(`"processed_at":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"`)
	for value, want := range map[string]string{
		"":                            ``,
		"namespace=default,pod=web-0": `,"namespace":"default","pod":"web-0"`,
		"b=2,a=1":                     `,"b":"2","a":"1"`,
		"query=a=b=c":                 `,"query":"a=b=c"`,
		"empty=":                      `,"empty":""`,
		" spaced = out ":              `," spaced ":" out "`,
		"Raw=is another,HOST=too":     `,"Raw":"is another","HOST":"too"`,
	} {
		t.Run(value, func(t *testing.T) {
			s := newSite(t, "EXTRA_FIELDS="+value, "MAX_LINE_BYTES=26")
			sc := s.start(t)
			before := time.Now().Truncate(time.Second)
			s.write(t, `{"status":200, "path":"/"}`+"\nlonger than that is allowed\n")
			eventually(t, "records", func() bool { return sc.out.lines() == 3 })

			for _, match := range stamp.FindAllStringSubmatch(sc.out.String(), -1) {
				at, err := time.Parse(time.RFC3339, match[1])
				require.NoError(t, err)
				assert.False(t, at.Before(before) || at.After(time.Now()), match[1])
			}
			rest := `,"host":"` + host + `","processed_at":"NOW"` + want
			assert.Equal(t, `{"raw":{"status":200, "path":"/"}`+rest+"}\n"+
				`{"raw":"longer than that is allowe"`+rest+`,"partial":true}`+"\n"+
				`{"raw":"d"`+rest+"}\n", stamp.ReplaceAllString(sc.out.String(), `"processed_at":"NOW"`))
		})
	}
}

func TestOddLines(t *testing.T) {
	s := newSite(t)
	sc := s.start(t)
	var lines []string
	for _, test := range []struct{ written, printed string }{
		{"text", "text"},
		{"CRLF\r", "CRLF"},
		{`{"crlf":true}` + "\r", `{"crlf":true}`},
		{"", ""}, // dropped, as each that prints nothing
		{"\r", ""},
		{"\x00\x00\x00", ""},
		{strings.Repeat("\x00", 100_000) + "after a run of NULs", "after a run of NULs"},
		{"NUL\x00inside\x00", "NUL\x00inside\x00"},
		{"bad\xff\xfeUTF-8\xc3", "bad\ufffd\ufffdUTF-8\ufffd"},
		{"{\"bad\":\"\xff\"}", "{\"bad\":\"\ufffd\"}"},
		{"two\rCRs\r\r", "two\rCRs\r"},
		{"  ", "  "},
		{"\x1b[31mred\x1b[0m\ttab", "\x1b[31mred\x1b[0m\ttab"},
		{`"quoted" \ and 世界 🎉`, `"quoted" \ and 世界 🎉`},
		{strings.Repeat("[", 100_000), strings.Repeat("[", 100_000)},
		{strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)},
		{"the last", "the last"},
	} {
		s.write(t, test.written+"\n")
		if test.printed != "" {
			lines = append(lines, test.printed)
		}
	}
	sc.prints(t, lines...)
}

func TestLineOf50MB(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := s.start(t)
	block := strings.Repeat("0123456789 größe 世界 🎉 \"quoted\" \\ \t", 30_000)
	blocks := 50_000_000/len(block) + 1
	for range blocks {
		app.write(t, block)
	}
	// All but what may yet turn out to be the last piece.
	eventually(t, "pieces, as it comes", func() bool { return sc.out.lines() >= blocks*len(block)>>20 })
	app.write(t, "\nshort\n")
	eventually(t, "the line after it", func() bool { return strings.Contains(sc.out.tail(), `"raw":"short"`) })
	var whole strings.Builder
	for record := range strings.Lines(sc.out.String()) {
		var piece struct {
			Raw     string
			Partial bool
		}
		require.NoError(t, json.Unmarshal([]byte(record), &piece))
		whole.WriteString(piece.Raw)
		if !piece.Partial {
			whole.WriteByte('\n')
		}
	}
	want := strings.Repeat(block, blocks) + "\nshort\n"
	assert.True(t, want == whole.String(), "the pieces are not what was written") // too long to show
	sc.assertSmall(t)
	assert.EqualValues(t, 1, sc.metric(t, "split_lines_total"))
}

func TestBacklogOfManyFiles(t *testing.T) {
	s := newSite(t, "STATE_DIR=") // keeps nothing
	for i := range 5 {
		s.write(t, numbered(10_000*i, 10_000*(i+1)))
		s.rotate(t)
	}
	s.write(t, numbered(50_000, 60_000))
	for range 2 {
		sc := s.start(t)
		sc.printsNumbered(t, 60_000)
		sc.assertSmall(t)
		sc.stop(t)
	}
}

// run itself, so that the race detector sees it: lines, probes and the drain at once.
func TestRunInThisProcess(t *testing.T) {
	s := newSite(t)
	app := s.newApp(t)
	sc := &sidecar{}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer sc.ended.Store(true)
		assert.NoError(t, run(ctx, t.Context(), nil, s.lookup, &sc.out, &sc.stderr))
	}()
	sc.address = sc.says(t, "following").Address

	var probing sync.WaitGroup
	for _, path := range []string{"/health", "/metrics"} {
		probing.Go(func() {
			for range 20 {
				assert.NoError(t, get("http://"+sc.address+path))
			}
		})
	}
	for i := range 10 {
		app.write(t, numbered(100*i, 100*(i+1)))
		app.rotate(t)
	}
	cancel()
	probing.Wait()
	app.end()
	eventually(t, "the end", sc.ended.Load)
	sc.printsNumbered(t, 1000)
	sc.stderr.assertDiagnosticsOnly(t)
	assert.Error(t, get("http://"+sc.address+"/health"), "the port is closed")
}
