package logfiles

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRotatedNames(t *testing.T) {
	for _, test := range []struct{ base, name, suffix string }{
		{"access.log", "access.log.1", "1"},
		{"access.log", "access.log-20261122", "20261122"},
		{"access.log", "access.log.1.gz", "1.gz"}, // that it is compressed, its content tells
		{"access.log", "access.1.log", "1"},
		{"access.log", "access.12345.log", "12345"},
		{"access.log", "access-20261122.log", "20261122"},
		{"access.log", "access-2026-11-22T15-43-51.000.log", "2026-11-22T15-43-51.000"},
		{"access.log", "access.2026-11-22.0.log", "2026-11-22.0"},
		{"access", "access.1", "1"},
		{"access", "access.log", "log"},
		{"app.log.txt", "app.log.1.txt", "1"},
		{".log", ".log.1", "1"},
	} {
		suffix, ok := rotated(test.base, test.name)
		assert.True(t, ok, "%s of %s", test.name, test.base)
		assert.Equal(t, test.suffix, suffix, "%s of %s", test.name, test.base)
	}
	for base, names := range map[string][]string{ // of other logs
		"access.log": {
			"", "access", "access.log", "access.log.", "access.log-", "access.log1", "access.log~", "access.logs",
			"other.log.1", "xaccess.log.1", "ACCESS.LOG.1", "access..log", "access-.log", "access.x.log", "access-error.log",
			"access.123456.log", "access.-1.log", "access.+1.log", "access-204512.log", "access-2026-error.log",
			"access2026-11-22.log", "access-2026-11-22.txt", "access-2026-11-22.log.gz",
		},
		"worker.log":  {"worker-1.log", "worker-12345678.log"},
		"app.log.txt": {"app.1.log.txt"},
		".log":        {"error.log"},
	} {
		for _, name := range names {
			_, ok := rotated(base, name)
			assert.False(t, ok, "%s of %s", name, base)
		}
	}
}

func TestCompressedContent(t *testing.T) {
	for _, head := range []string{ // as the programs write them
		"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "\x1f\x8b", // gzip, no more as yet too
		"\x1f\x9d\x90a\xc6\xb0", "\x1f\xa0\x00", // compress, with LZH too
		"BZh91AY&SY\x94\xa1", "BZh9\x17rE8P\x90", // bzip2, of nothing too
		"\x28\xb5\x2f\xfd\x24\x02", "\x50\x2a\x4d\x18\x04\x00", // Zstandard, pzstd
		"\x04\x22\x4d\x18\x64\x40", "\x02\x21\x4c\x18", // LZ4, legacy too
		"\xfd7zXZ\x00\x00\x04", "7z\xbc\xaf\x27\x1c\x00\x04", // xz, 7-Zip
		"\x5d\x00\x00\x80\x00\xff", "\x89LZO\x00\x0d\x0a\x1a\x0a", "LZIP\x01\x0c", // lzma, lzop, lzip
		"PK\x03\x04\x14\x00", "\xff\x06\x00\x00sNaPpY", // zip, Snappy
	} {
		assert.True(t, IsCompressed([]byte(head)), "%q", head)
	}
	for _, head := range []string{
		"", "\n", "\x1f", "\x00\x00\x00\x00", `{"timestamp":"2026-11-22T15:43:51Z"}`, "\xef\xbb\xbf127.0.0.1 - -",
		"BZh", "BZh9", "BZh91AY&S", "BZh9 is how bzip2 begins\n", "BZh9\x17rE8P", "BZip\n", "PK", "PK zip\n", "P*M\n",
		"7z a x.7z\n", "7zXZ\n", "LZIP it\n", "LZO\n", "]\n", "] \x00", "sNaPpY\n", "(\xb5/\n", "later: \x1f\x8b",
	} {
		assert.False(t, IsCompressed([]byte(head)), "%q", head)
	}
}

// named is a file as it is before it was sorted. Times are in seconds.
func named(suffix string, born, modified int64) *File {
	return &File{Name: suffix, number: rotationNumber(suffix), Live: suffix == "live", Born: born, Modified: modified}
}

// inOneTick are files that came within one tick of the clock.
func inOneTick(suffixes ...string) (files []*File) {
	for _, suffix := range suffixes {
		files = append(files, named(suffix, 1, 1))
	}
	return files
}

func TestOldestFirst(t *testing.T) {
	for name, oldestFirst := range map[string][]*File{
		"the live one comes last, though restored":           {named("2", 7, 7), named("1", 8, 8), named("live", 2, 3)},
		"by creation, though an old one is still written to": {named("x", 1, 9), named("b", 2, 3), named("live", 3, 3)},
		"a copy has its original's last write":               {named("copy", 9, 1), named("b", 2, 3), named("live", 3, 9)},
		"no creation is known":                               {named("x", 0, 1), named("a", 0, 2), named("live", 0, 3)},

		"numbers down in one tick":                     inOneTick("100", "11", "10", "9", "2", "1", "live"),
		"numbers up, some in one tick":                 {named("1", 1, 2), named("9", 2, 2), named("10", 2, 2), named("11", 3, 3)},
		"numbers down, one restored":                   {named("3", 1, 2), named("2", 9, 9), named("1", 4, 5), named("live", 5, 6)},
		"numbers down, an old one is still written to": {named("2", 1, 9), named("1", 2, 3), named("live", 3, 9)},
		"numbers up, an old one is still written to":   {named("1", 1, 9), named("2", 2, 3), named("3", 3, 4)},

		"dates in one tick":                   inOneTick("20251231", "20261121", "20261121.1", "20261122", "2026112209", "2026112210"),
		"dates with a counter in one tick":    inOneTick("2026-11-21.10", "2026-11-22.9", "2026-11-22.10"),
		"names in one tick":                   inOneTick("", "1a", "1b", "a1", "a01b", "a2", "live"),
		"larger than any integer":             inOneTick("99999999999999999998", "99999999999999999999"),
		"dates that do not sort in time":      {named("31122025", 1, 2), named("01012026", 2, 3)},
		"a number and a date":                 {named("20261121", 1, 2), named("1", 2, 3), named("live", 3, 3)},
		"more than five digits are no number": inOneTick("100000", "200000", "1764000000", "1764000001"),
	} {
		for seed := range uint64(20) { // in whatever order the directory has them
			files := slices.Clone(oldestFirst)
			rand.New(rand.NewPCG(seed, seed)).Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
			sortOldestFirst(files)
			assert.Equal(t, names(oldestFirst), names(files), name)
		}
	}
}

func names(files []*File) (names []string) {
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}
