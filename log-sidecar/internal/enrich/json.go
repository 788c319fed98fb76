package enrich

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deeply a line may be nested and still be carried as JSON. The record
// adds one level, and encoding/json accepts at most 10,000.
const maxDepth = 9_999

// A validator does what json.Valid does, but faster: validation is most of the cost of a
// line. It is not safe for concurrent use.
type validator struct {
	ends [maxDepth]byte // closing brackets (] or }) of the arrays and objects still open
}

// valid reports whether b is one JSON value (RFC 8259), with optional white space around
// it, nested no deeper than maxDepth. As in encoding/json, strings need not be UTF-8.
func (v *validator) valid(b []byte) bool {
	for i, depth := space(b, 0), 0; ; {
		switch begin := at(b, i); {
		case begin == '{', begin == '[':
			if depth == maxDepth {
				return false
			}
			end := begin + 2 // in ASCII, ] is two after [, and } is two after {
			v.ends[depth] = end
			depth++
			if i = space(b, i+1); at(b, i) != end {
				if end == '}' {
					i = key(b, i)
				}
				continue
			}
		case begin == '"':
			i = str(b, i)
		case begin == '-', '0' <= begin && begin <= '9':
			i = number(b, i)
		default:
			i = literal(b, i)
		}
		// A value ends here, and so do the arrays and objects that it is the last of.
		for i = space(b, i); depth > 0 && at(b, i) == v.ends[depth-1]; i = space(b, i+1) {
			depth--
		}
		if depth == 0 {
			return i == len(b)
		}
		if at(b, i) != ',' {
			return false
		}
		i = space(b, i+1)
		if v.ends[depth-1] == '}' {
			i = key(b, i)
		}
	}
}

// Each function below reads one part of the grammar at index i of b and returns the index
// after it, or nowhere if the part is not there. nowhere is an index past the end of b,
// so that reading on from it fails as well, and errors need no checks on the way.

func nowhere(b []byte) int { return len(b) + 1 }

// at returns the byte at i, or 0, which no part of the grammar begins with.
func at(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// key reads a member's name and colon, up to the start of its value.
func key(b []byte, i int) int {
	if i = space(b, str(b, i)); at(b, i) != ':' {
		return nowhere(b)
	}
	return space(b, i+1)
}

func str(b []byte, i int) int {
	if at(b, i) != '"' {
		return nowhere(b)
	}
	for i++; ; {
		i = skipPlain(b, i)
		switch at(b, i) {
		case '"':
			return i + 1
		case '\\':
			i = escape(b, i)
		default:
			return nowhere(b)
		}
	}
}

func escape(b []byte, i int) int {
	const hex = "0123456789abcdefABCDEF"
	c := at(b, i+1)
	switch {
	case c == 'u' && i+6 <= len(b) && len(bytes.Trim(b[i+2:i+6], hex)) == 0:
		return i + 6
	case strings.IndexByte(`"\/bfnrt`, c) >= 0:
		return i + 2
	default:
		return nowhere(b)
	}
}

// skipPlain returns the index of the first byte at or after i that is special in a JSON
// string: a quote, a backslash or a control character. It checks eight bytes at a time.
func skipPlain(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		if s := special(binary.LittleEndian.Uint64(b[i:])); s != 0 {
			return i + bits.TrailingZeros64(s)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// special returns 0 if all eight bytes of x are plain; otherwise its lowest set bit is
// the high bit of the first byte that is not. (Subtracting a larger byte from a smaller
// one sets its high bit; the borrow may set those of later bytes too, which does no
// harm.)
func special(x uint64) uint64 {
	const ones = 0x0101010101010101
	low := x ^ ones*2 // maps '"' to 0x20 and keeps control characters below it
	backslash := x ^ ones*'\\'
	return ((low-ones*0x21)&^low | (backslash-ones)&^backslash) & (ones << 7)
}

func number(b []byte, i int) int {
	if at(b, i) == '-' {
		i++
	}
	if at(b, i) == '0' {
		i++
	} else {
		i = digits(b, i)
	}
	if at(b, i) == '.' {
		i = digits(b, i+1)
	}
	if at(b, i)|0x20 == 'e' {
		i++
		if at(b, i) == '+' || at(b, i) == '-' {
			i++
		}
		i = digits(b, i)
	}
	return i
}

// digits reads one digit or more.
func digits(b []byte, i int) int {
	start := i
	for '0' <= at(b, i) && at(b, i) <= '9' {
		i++
	}
	if i == start {
		return nowhere(b)
	}
	return i
}

func literal(b []byte, i int) int {
	for _, word := range [...]string{"true", "false", "null"} {
		if i < len(b) && bytes.HasPrefix(b[i:], []byte(word)) {
			return i + len(word)
		}
	}
	return nowhere(b)
}

// appendString appends text as a JSON string without the quotes. Like encoding/json, it
// replaces each invalid UTF-8 byte with U+FFFD.
func appendString(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	valid := utf8.Valid(text) // checked once, not between every two quotes
	for {
		n := skipPlain(text, 0)
		if valid {
			dst = append(dst, text[:n]...)
		} else {
			dst = appendUTF8(dst, text[:n])
		}
		if n == len(text) {
			return dst
		}
		switch c := text[n]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		text = text[n+1:]
	}
}

// appendUTF8 appends text, replacing each invalid UTF-8 byte with U+FFFD.
func appendUTF8(dst, text []byte) []byte {
	if utf8.Valid(text) {
		return append(dst, text...)
	}
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		dst = utf8.AppendRune(dst, r)
		text = text[size:]
	}
	return dst
}
