package logfiles

import (
	"bytes"
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// rotated returns what rotation has added to the name base to make name: a suffix, as in
// access.log.1 and access.log-20261122, or before the extension a number after a dot, as
// in access.1.log (logrotate's extension), or a date, as in
// access-2026-11-22T15-43-51.000.log (lumberjack, logback). Nothing else counts there:
// worker-1.log and worker-2.log are logs of their own.
func rotated(base, name string) (suffix string, ok bool) {
	suffix, ok = strings.CutPrefix(name, base)
	if !ok {
		ext := filepath.Ext(base)
		if suffix, ok = strings.CutPrefix(name, strings.TrimSuffix(base, ext)); ok {
			suffix, ok = strings.CutSuffix(suffix, ext)
		}
		number, dotted := strings.CutPrefix(suffix, ".")
		ok = ok && (dotted && rotationNumber(number) >= 0 || isDay(strings.TrimLeft(suffix, ".-")))
	}
	if !ok || len(suffix) < 2 || suffix[0] != '.' && suffix[0] != '-' {
		return "", false
	}
	return suffix[1:], true
}

// isDay reports whether suffix begins like 20261122 or 2026-11-22.
func isDay(suffix string) bool {
	suffix = strings.ReplaceAll(suffix, "-", "")
	return strings.HasPrefix(suffix, "20") && len(suffix) >= 8 && strings.Trim(suffix[:8], "0123456789") == ""
}

// rotationNumber returns the number of path.1, and -1 where there is none. More than five
// digits are a date.
func rotationNumber(suffix string) int {
	n, err := strconv.Atoi(suffix)
	if err != nil || suffix != digits(suffix) || len(suffix) > 5 {
		return -1
	}
	return n
}

// IsRestored reports whether the file was given an earlier time than it was made, as a copy
// by cp -p is given its original's.
func (f *File) IsRestored() bool { return f.Born > f.Modified }

// began is when the file came to be the log. Of one that was restored, its last write tells
// more than its creation.
func (f *File) began() int64 {
	if f.Born == 0 || f.IsRestored() {
		return f.Modified
	}
	return f.Born
}

// sortOldestFirst sorts the files in the order in which they were the log: the one at the
// log's own path comes last. Their creation tells more than their last write, because a
// process may still be writing to an old file, and more than names, except that numbers
// all go in one direction. What came within one tick of the clock is sorted as most dates
// are, the smaller name first.
func sortOldestFirst(files []*File) {
	var numbered []*File
	for _, f := range files {
		f.order = f.began()
		if f.number >= 0 && !f.Live {
			numbered = append(numbered, f)
		}
	}
	slices.SortFunc(numbered, func(a, b *File) int { return cmp.Compare(a.number, b.number) })
	up := 0 // path.2 is newer than path.1 (log4j and others), rather than older (logrotate and most)
	for i := 1; i < len(numbered); i++ {
		lower, higher := numbered[i-1], numbered[i]
		switch { // the last write alone tells nothing where an old file is still written to
		case higher.order < lower.order:
			up--
		case higher.order > lower.order && higher.Modified > lower.Modified:
			up++
		}
	}
	if up <= 0 {
		slices.Reverse(numbered)
	}
	for i := 1; i < len(numbered); i++ {
		numbered[i].order = max(numbered[i].order, numbered[i-1].order)
	}
	slices.SortFunc(files, func(a, b *File) int {
		switch {
		case a.Live != b.Live && b.Live:
			return -1
		case a.Live != b.Live:
			return 1
		case a.order != b.order:
			return cmp.Compare(a.order, b.order)
		case a.number != b.number && up > 0:
			return cmp.Compare(a.number, b.number)
		case a.number != b.number:
			return cmp.Compare(b.number, a.number)
		default:
			return compareNatural(a.Name, b.Name)
		}
	})
}

// compareNatural compares runs of digits as numbers: 2026-11-22.9 is before 2026-11-22.10.
func compareNatural(a, b string) int {
	isDigit := func(c byte) bool { return '0' <= c && c <= '9' }
	for a != "" && b != "" {
		if !isDigit(a[0]) || !isDigit(b[0]) {
			if a[0] != b[0] {
				return cmp.Compare(a[0], b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		x, y := digits(a), digits(b)
		a, b = a[len(x):], b[len(y):]
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// digits returns the digits that s begins with.
func digits(s string) string { return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))] }

// compressed lists what compressed files begin with. Names tell less: logrotate alone
// takes any extension for them.
var compressed = [][]byte{
	{0x1f, 0x8b},                       // gzip
	{0x1f, 0x9d},                       // compress (.Z)
	{0x1f, 0xa0},                       // compress with LZH
	{0x28, 0xb5, 0x2f, 0xfd},           // Zstandard
	{0x50, 0x2a, 0x4d, 0x18},           // Zstandard by pzstd
	{0x04, 0x22, 0x4d, 0x18},           // LZ4
	{0x02, 0x21, 0x4c, 0x18},           // LZ4, legacy
	{0xfd, '7', 'z', 'X', 'Z', 0},      // xz
	{'7', 'z', 0xbc, 0xaf, 0x27, 0x1c}, // 7-Zip
	{0x5d, 0, 0},                       // lzma
	{0x89, 'L', 'Z', 'O', 0},           // lzop
	{'P', 'K', 3, 4},                   // zip
	{'L', 'Z', 'I', 'P', 1},            // lzip
	{0xff, 6, 0, 0, 's', 'N', 'a'},     // Snappy
}

// IsCompressed reports whether a file that begins with head is compressed, so that it has
// no lines to be read.
func IsCompressed(head []byte) bool {
	if bytes.HasPrefix(head, []byte("BZh")) { // text may begin so; the magic of a block or of the end follows
		return len(head) >= 10 && (string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17rE8P\x90")
	}
	return slices.ContainsFunc(compressed, func(magic []byte) bool { return bytes.HasPrefix(head, magic) })
}
