package tail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSiblingsAreWhatRotationMakesOfTheName(t *testing.T) {
	for name, want := range map[string]string{ // what is added; empty: no sibling
		"access.log.1":         "1",
		"access.log.12":        "12",
		"access.log-20261122":  "20261122",
		"access.log.old":       "old",
		"access.log":           "",
		"access.log.":          "",
		"access.log-":          "",
		"access.log1":          "",
		"access.logs":          "",
		"other.log.1":          "",
		"xaccess.log.1":        "",
		"access.log.1.gz":      "",
		"access.log.2.zst":     "",
		"access.log-2026.bz2":  "",
		"access.log.3.xz":      "",
		"access.log.4.Z":       "",
		"access.log.5.lz4":     "",
		"access.log.6.zip":     "",
		"access.log.1.gz.part": "1.gz.part",

		"access-20261122.log":                "20261122",
		"access-2026-11-22T15-43-51.000.log": "2026-11-22T15-43-51.000",
		"access.2026-11-22.0.log":            "2026-11-22.0",
		"access-2026-11-22.log.gz":           "",
		"access-2026-11-22.txt":              "",
		"access2026-11-22.log":               "",
		"access-1.log":                       "",
		"access.1.log":                       "1",
		"access.x.log":                       "",
		"access..log":                        "",
		"access-error.log":                   "",
		"access-204512.log":                  "",
		"access-2026-error.log":              "",
		"access-.log":                        "",
	} {
		suffix, ok := rotated("access.log", name)
		require.Equal(t, want, suffix, name)
		require.Equal(t, want != "", ok, name)
	}
	suffix, ok := rotated("access", "access-20261122")
	require.Equal(t, "20261122", suffix)
	require.True(t, ok)
}

func TestFilesAreListedOldestFirst(t *testing.T) {
	for name, test := range map[string]struct{ oldestFirst []string }{
		"numbers":              {[]string{"access.log.10", "access.log.9", "access.log.2", "access.log.1"}},
		"dates":                {[]string{"access.log-20251231", "access.log-20261121", "access.log-20261122"}},
		"dates with hours":     {[]string{"access.log-2026112209", "access.log-2026112210"}},
		"dates after a dot":    {[]string{"access.log.2026-11-21", "access.log.2026-11-22"}},
		"seconds since 1970":   {[]string{"access.log-1764000000", "access.log-1764000001"}},
		"by the last write":    {[]string{"access.log.old", "access.log.bak.2", "access.log.newer"}},
		"a number and a date":  {[]string{"access.log-20261121", "access.log.1"}},
		"dates with a counter": {[]string{"access.log.2026-11-21.10", "access.log.2026-11-22.9", "access.log.2026-11-22.10"}},
		"dates inside":         {[]string{"access-2026-11-22T09-43-51.000.log", "access-2026-11-22T15-43-51.000.log"}},
		"a date with a suffix": {[]string{"access.log-20261121", "access.log-20261121.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "access.log")
			written := time.Now().Add(-time.Hour)
			for _, name := range slices.Concat(test.oldestFirst, []string{"access.log"}) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("a\n"), 0o644))
				written = written.Add(time.Second)
				require.NoError(t, os.Chtimes(filepath.Join(dir, name), written, written))
			}
			for _, name := range []string{"access.log.1.gz", "other.log"} {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("a\n"), 0o644))
			}
			require.NoError(t, os.Mkdir(path+".d", 0o755))
			require.Equal(t, append(test.oldestFirst, "access.log"), names(t, path))
		})
	}
}

// A late write to an older file must not make it the newer one.
func TestNumbersAndDatesDecideWhateverTheTimeOfTheLastWrite(t *testing.T) {
	for _, oldestFirst := range [][]string{
		{"access.log.10", "access.log.2", "access.log.1"},
		{"access.log-20261121", "access.log-20261122"},
	} {
		dir := t.TempDir()
		written := time.Now()
		for _, name := range oldestFirst {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
			written = written.Add(-time.Second)
			require.NoError(t, os.Chtimes(filepath.Join(dir, name), written, written))
		}
		require.Equal(t, oldestFirst, names(t, filepath.Join(dir, "access.log")))
	}
}

func names(t *testing.T, path string) (names []string) {
	t.Helper()
	files, err := list(path)
	require.NoError(t, err)
	for i, f := range files {
		names = append(names, filepath.Base(f.path))
		require.Equal(t, i == len(files)-1 && f.path == path, f.live, f.path)
	}
	return names
}

// log4j and others count up: path.2 is younger than path.1.
func TestNumbersThatCountUp(t *testing.T) {
	for name, down := range map[string]bool{"while it runs": false, "while it is down": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			w.some(5)
			for i := range 12 {
				s.look()
				if down && i > 0 {
					s.kill()
				}
				for range 1 + i%3 {
					w.some(5)
					require.NoError(t, os.Rename(s.path, s.path+"."+strconv.Itoa(w.n)))
					afterATick(t, numbered(s.path, w.n))
					w.open()
				}
			}
			w.some(5)
			s.look()
			s.want(w.lines)
		})
	}
}

// Files that were made in another order than they were written, with their times
// set: the names are as logrotate gives them.
func TestNumbersCountDownWhereTheTimesDoNotAgree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	written := time.Now()
	for i := 1; i <= 3; i++ {
		require.NoError(t, os.WriteFile(numbered(path, i), nil, 0o644))
		written = written.Add(-time.Minute)
		require.NoError(t, os.Chtimes(numbered(path, i), written, written))
		afterATick(t, numbered(path, i))
	}
	require.Equal(t, []string{"access.log.3", "access.log.2", "access.log.1"}, names(t, path))
}

// lumberjack and others put a date before the extension, logrotate a number.
func TestADateOrNumberBeforeTheExtension(t *testing.T) {
	for name, test := range map[string]struct {
		format string
		down   bool
	}{
		"a date, while it runs":      {"access-2026-11-22T15-43-%02d.000.log", false},
		"a date, while it is down":   {"access-2026-11-22T15-43-%02d.000.log", true},
		"a number, while it runs":    {"access.%d.log", false},
		"a number, while it is down": {"access.%d.log", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			w.some(5)
			s.look()
			if test.down {
				s.kill()
			}
			for i := range 12 {
				if strings.Contains(test.format, "%d") {
					i = 12 - i // the oldest has the highest
				}
				w.some(5)
				require.NoError(t, os.Rename(s.path, filepath.Join(s.dir, fmt.Sprintf(test.format, i))))
				w.open()
			}
			w.some(5)
			s.look()
			s.want(w.lines)
			require.Zero(t, s.tailer.Status().Gaps)
		})
	}
}
