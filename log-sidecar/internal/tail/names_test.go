package tail

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSiblingsAreWhatRotationMakesOfTheName(t *testing.T) {
	for name, want := range map[string]bool{
		"access.log.1":         true,
		"access.log.12":        true,
		"access.log-20261122":  true,
		"access.log.old":       true,
		"access.log":           false,
		"access.log.":          false,
		"access.log-":          false,
		"access.log1":          false,
		"access.logs":          false,
		"other.log.1":          false,
		"xaccess.log.1":        false,
		"access.log.1.gz":      false,
		"access.log.2.zst":     false,
		"access.log-2026.bz2":  false,
		"access.log.3.xz":      false,
		"access.log.4.Z":       false,
		"access.log.5.lz4":     false,
		"access.log.6.zip":     false,
		"access.log.1.gz.part": true,
	} {
		require.Equal(t, want, isSibling("access.log", name), name)
	}
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
