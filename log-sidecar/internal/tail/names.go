package tail

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// compressed lists the extensions of compressed files, whose lines cannot be read here.
var compressed = []string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip"}

// rotated returns what rotation has added to the name base to make name: a suffix, as in
// access.log.1 and access.log-20261122, or before the extension a number after a dot, as
// in access.1.log (logrotate's extension), or a date, as in
// access-2026-11-22T15-43-51.000.log (lumberjack, logback). Nothing else counts there:
// worker-1.log and worker-2.log are logs of their own.
func rotated(base, name string) (suffix string, ok bool) {
	if slices.Contains(compressed, filepath.Ext(name)) {
		return "", false
	}
	suffix, ok = strings.CutPrefix(name, base)
	if !ok {
		ext := filepath.Ext(base)
		if suffix, ok = strings.CutPrefix(name, strings.TrimSuffix(base, ext)); ok {
			suffix, ok = strings.CutSuffix(suffix, ext)
		}
		number, dotted := strings.CutPrefix(suffix, ".")
		ok = ok && (dotted && rotationNumber(number) > 0 || isDay(strings.TrimLeft(suffix, ".-")))
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

// order sorts siblings, oldest first. The best evidence is in their names: dates, such as
// path-20261122, and numbers. Files with other names, or in different directories, are
// sorted by creation time.
func order(files []file) {
	up := countsUp(files)
	slices.SortFunc(files, func(a, b file) int {
		byName := 0
		switch {
		case filepath.Dir(a.path) != filepath.Dir(b.path):
		case a.number > 0 && b.number > 0 && up:
			byName = cmp.Compare(a.number, b.number)
		case a.number > 0 && b.number > 0:
			byName = cmp.Compare(b.number, a.number)
		case isDate(a.suffix) && isDate(b.suffix):
			byName = compareDates(a.suffix, b.suffix)
		}
		return cmp.Or(byName, cmp.Compare(a.born, b.born), cmp.Compare(a.mtime, b.mtime), cmp.Compare(a.suffix, b.suffix))
	})
}

// countsUp reports whether path.2 is newer than path.1 (log4j and others) rather than
// older (logrotate and most). It goes by whether most files with a higher number were
// both created and last written to later. The last write alone would not do, because a
// writer may still be writing to an older file.
func countsUp(files []file) bool {
	numbered := slices.DeleteFunc(slices.Clone(files), func(f file) bool { return f.number == 0 })
	slices.SortFunc(numbered, func(a, b file) int { return cmp.Compare(a.number, b.number) })
	up := 0
	for i := 1; i < len(numbered); i++ {
		lower, higher := &numbered[i-1], &numbered[i]
		switch {
		case higher.number == lower.number: // path.1 and path-1
		case higher.born < lower.born:
			up--
		case higher.born > lower.born && higher.mtime > lower.mtime:
			up++
		}
	}
	return up > 0
}

// rotationNumber returns 2 for the suffix of path.1, and 0 for one that is no number.
// More than five digits are a date.
func rotationNumber(suffix string) int {
	n, err := strconv.Atoi(suffix)
	if err != nil || n < 0 || len(suffix) > 5 {
		return 0
	}
	return n + 1 // because some begin with path.0
}

// isDate reports whether suffix begins like 20261122, 2026-11-22 or a Unix time, that is,
// with the most significant part.
func isDate(suffix string) bool {
	return len(suffix) >= 6 && strings.Trim(suffix[:4], "0123456789") == ""
}

// compareDates compares the numbers in a and b one by one: 2026-11-22.9 is older than
// 2026-11-22.10.
func compareDates(a, b string) int {
	numbers := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	}
	return slices.CompareFunc(numbers(a), numbers(b), func(x, y string) int {
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
}
