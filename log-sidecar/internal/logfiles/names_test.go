package logfiles

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRotatedNames(t *testing.T) {
	for _, test := range []struct{ base, name, suffix string }{ // no suffix: another file
		{"access.log", "access.log.1", "1"},
		{"access.log", "access.log.12", "12"},
		{"access.log", "access.log-20261122", "20261122"},
		{"access.log", "access.log.old", "old"},
		{"access.log", "access.log.1.gz", "1.gz"}, // that it is compressed, its content tells
		{"access.log", "access.log", ""},
		{"access.log", "access.log.", ""},
		{"access.log", "access.log-", ""},
		{"access.log", "access.log1", ""},
		{"access.log", "access.log~", ""},
		{"access.log", "access.logs", ""},
		{"access.log", "access", ""},
		{"access.log", "other.log.1", ""},
		{"access.log", "xaccess.log.1", ""},
		{"access.log", "ACCESS.LOG.1", ""},
		{"access.log", "", ""},

		// Before the extension.
		{"access.log", "access.1.log", "1"},
		{"access.log", "access.12345.log", "12345"},
		{"access.log", "access-20261122.log", "20261122"},
		{"access.log", "access.20261122.log", "20261122"},
		{"access.log", "access-2026-11-22T15-43-51.000.log", "2026-11-22T15-43-51.000"},
		{"access.log", "access.2026-11-22.0.log", "2026-11-22.0"},
		{"worker.log", "worker-1.log", ""},
		{"worker.log", "worker-12345678.log", ""},
		{"access.log", "access.123456.log", ""},
		{"access.log", "access.x.log", ""},
		{"access.log", "access..log", ""},
		{"access.log", "access-.log", ""},
		{"access.log", "access.-1.log", ""},
		{"access.log", "access.+1.log", ""},
		{"access.log", "access-error.log", ""},
		{"access.log", "access-204512.log", ""},
		{"access.log", "access-2026-error.log", ""},
		{"access.log", "access2026-11-22.log", ""},
		{"access.log", "access-2026-11-22.txt", ""},
		{"access.log", "access-2026-11-22.log.gz", ""},

		{"access", "access.1", "1"},
		{"access", "access-20261122", "20261122"},
		{"access", "access.log", "log"},
		{"app.log.txt", "app.log.1.txt", "1"},
		{"app.log.txt", "app.1.log.txt", ""},
		{".log", ".log.1", "1"},
		{".log", "error.log", ""},
	} {
		suffix, ok := rotated(test.base, test.name)
		assert.Equal(t, test.suffix, suffix, "%s of %s", test.name, test.base)
		assert.Equal(t, test.suffix != "", ok, "%s of %s", test.name, test.base)
	}
}

func TestCompressedContent(t *testing.T) {
	for name, head := range map[string]string{ // as the programs write them
		"gzip":                 "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
		"compress":             "\x1f\x9d\x90a\xc6\xb0",
		"compress with LZH":    "\x1f\xa0\x00",
		"bzip2":                "BZh91AY&SY\x94\xa1",
		"bzip2 of nothing":     "BZh9\x17rE8P\x90",
		"bzip2, fast":          "BZh11AY&SY\x94\xa1",
		"Zstandard":            "\x28\xb5\x2f\xfd\x24\x02",
		"pzstd":                "\x50\x2a\x4d\x18\x04\x00",
		"LZ4, legacy":          "\x02\x21\x4c\x18",
		"LZ4":                  "\x04\x22\x4d\x18\x64\x40",
		"xz":                   "\xfd7zXZ\x00\x00\x04",
		"7-Zip":                "7z\xbc\xaf\x27\x1c\x00\x04",
		"lzma":                 "\x5d\x00\x00\x80\x00\xff",
		"lzop":                 "\x89LZO\x00\x0d\x0a\x1a\x0a",
		"zip":                  "PK\x03\x04\x14\x00",
		"lzip":                 "LZIP\x01\x0c",
		"Snappy":               "\xff\x06\x00\x00sNaPpY",
		"gzip, no more as yet": "\x1f\x8b",
	} {
		assert.True(t, IsCompressed([]byte(head)), name)
	}
	for _, head := range []string{
		"", "\n", "\x1f", "\x00\x00\x00\x00",
		`{"timestamp":"2026-11-22T15:43:51Z"}`,
		"\xef\xbb\xbf127.0.0.1 - -",
		"BZh", "BZh9", "BZh91AY&S", "BZh9 is how bzip2 begins\n", "BZip\n",
		"PK", "PK zip\n", "7z a x.7z\n", "P*M\n", "BZh9\x17rE8P", "7zXZ\n", "LZIP it\n", "LZO\n",
		"]\n", "] \x00", "sNaPpY\n", "(\xb5/\n",
		strings.Repeat("x", 9) + "\x1f\x8b",
	} {
		assert.False(t, IsCompressed([]byte(head)), "%q", head)
	}
}

func TestNumbersInNamesCompareAsNumbers(t *testing.T) {
	for _, ascending := range [][]string{
		{"1", "2", "10", "11", "100"},
		{"20251231", "20261121", "20261122"},
		{"2026-11-21.10", "2026-11-22.9", "2026-11-22.10"},
		{"2026112209", "2026112210"},
		{"1764000000", "1764000001"},
		{"20261121", "20261121.1"},
		{"", "1", "1a", "1b", "a1", "a01b", "a2"},
		{"99999999999999999998", "99999999999999999999"}, // larger than any integer
	} {
		for i, a := range ascending {
			for j, b := range ascending {
				assert.Equal(t, i-j < 0, compareNatural(a, b) < 0, "%q < %q", a, b)
				assert.Equal(t, i == j, compareNatural(a, b) == 0, "%q = %q", a, b)
			}
		}
	}
}

// named is a file as it is before it was sorted. Times are in seconds.
func named(suffix string, born, modified int64) File {
	return File{Name: suffix, suffix: suffix, Live: suffix == "live", Born: born, Modified: modified}
}

func TestOldestFirst(t *testing.T) {
	for _, test := range []struct {
		name        string
		oldestFirst []File
	}{
		{"nothing", nil},
		{"the live one comes last", []File{named("1", 1, 5), named("live", 1, 1)}},
		{"the live one comes last, though restored", []File{named("2", 7, 7), named("1", 8, 8), named("live", 2, 3)}},
		{"by creation", []File{named("old", 1, 2), named("bak", 2, 3), named("newer", 3, 4)}},
		{"by creation, though an old one is still written to", []File{named("x", 1, 9), named("b", 2, 3), named("live", 3, 3)}},
		{"a copy has its original's last write", []File{named("copy", 9, 1), named("b", 2, 3), named("live", 3, 9)}},
		{"no creation is known", []File{named("x", 0, 1), named("a", 0, 2), named("live", 0, 3)}},

		{"numbers down", []File{named("10", 1, 2), named("9", 2, 3), named("2", 3, 4), named("1", 4, 5)}},
		{"numbers up", []File{named("1", 1, 2), named("2", 2, 3), named("9", 3, 4), named("10", 4, 5)}},
		{"numbers down in one tick", []File{named("10", 1, 1), named("9", 1, 1), named("1", 1, 1), named("live", 1, 1)}},
		{"numbers up, some in one tick", []File{named("1", 1, 2), named("2", 2, 2), named("3", 2, 2), named("4", 3, 3)}},
		{"numbers down, one restored", []File{named("3", 1, 2), named("2", 9, 9), named("1", 4, 5), named("live", 5, 6)}},
		{"numbers down, an old one is still written to", []File{named("2", 1, 9), named("1", 2, 3), named("live", 3, 9)}},
		{"numbers up, an old one is still written to", []File{named("1", 1, 9), named("2", 2, 3), named("3", 3, 4)}},
		{"a single number", []File{named("1", 5, 5), named("live", 5, 5)}},

		{"dates in one tick", []File{named("20251231", 1, 1), named("20261121", 1, 1), named("20261122", 1, 1)}},
		{"dates with a counter in one tick", []File{named("2026-11-22.9", 1, 1), named("2026-11-22.10", 1, 1)}},
		{"dates that do not sort in time", []File{named("31122025", 1, 2), named("01012026", 2, 3)}},
		{"the hour that the clock goes back", []File{named("20261025-0259", 1, 2), named("20261025-0201", 2, 3)}},
		{"a number and a date", []File{named("20261121", 1, 2), named("1", 2, 3), named("live", 3, 3)}},
		{"more than five digits are no number", []File{named("100000", 1, 1), named("200000", 1, 1)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			// In whatever order the directory has them.
			for i := range max(1, len(test.oldestFirst)) {
				files := slices.Concat(test.oldestFirst[i:], test.oldestFirst[:i])
				backward := slices.Clone(files)
				slices.Reverse(backward)
				for _, files := range [][]File{files, backward} {
					sortOldestFirst(files)
					assert.Equal(t, names(test.oldestFirst), names(files))
				}
			}
		})
	}
}

func names(files []File) (names []string) {
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}
