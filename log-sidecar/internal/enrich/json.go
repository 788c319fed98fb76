package enrich

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a line may be nested and still be carried as JSON. The
// record adds one level, and encoding/json reads 10,000 and no more.
const maxDepth = 9_999

// valid reports whether b is one JSON value (RFC 8259), white space around it
// allowed, nested no deeper than maxDepth. As in encoding/json, the bytes in a
// string need not be UTF-8. It does what json.Valid does, faster: that check is
// most of what a line costs.
//
// The functions below read one part of the grammar each, at index i of b, and
// return the index behind it; if the part is not there, it is nowhere, an index
// behind the end of b, where there is nothing to read and so no part either.
func valid(b []byte) bool {
	return space(b, value(b, space(b, 0), 0)) == len(b)
}

func nowhere(b []byte) int { return len(b) + 1 }

// at returns the byte at i, or 0, which no part of the grammar begins with.
func at(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}

func value(b []byte, i, depth int) int {
	switch c := at(b, i); {
	case c == '"':
		return str(b, i)
	case c == '{', c == '[':
		return container(b, i, depth+1)
	case c == '-', '0' <= c && c <= '9':
		return number(b, i)
	default:
		return literal(b, i)
	}
}

func container(b []byte, i, depth int) int {
	if depth > maxDepth {
		return nowhere(b)
	}
	begin := b[i]
	end := begin + 2 // in ASCII ] stands two behind [, and } behind {
	if i = space(b, i+1); at(b, i) == end {
		return i + 1
	}
	for {
		if begin == '{' {
			if i = space(b, str(b, i)); at(b, i) != ':' {
				return nowhere(b)
			}
			i = space(b, i+1)
		}
		i = space(b, value(b, i, depth))
		switch at(b, i) {
		case end:
			return i + 1
		case ',':
			i = space(b, i+1)
		default:
			return nowhere(b)
		}
	}
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
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

// skipPlain returns the index of the first byte from i on that does not stand for
// itself in a JSON string: a quote, a backslash or a control character. It looks
// at eight bytes at once, where there are as many.
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

// special is 0 if all eight bytes of x are plain; else its lowest set bit is the
// high bit of the first one that is not. (A byte less than the one subtracted from
// it gets its high bit set. Its borrow may do that to bytes behind it, too.)
func special(x uint64) uint64 {
	const ones = 0x0101010101010101
	low := x ^ ones*2 // what is below 0x21 here is '"' or below 0x20 in x
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

// digits reads at least one.
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

// appendString appends text as a JSON string without its quotes, and with U+FFFD
// for each byte that is not UTF-8, as encoding/json does.
func appendString(dst, text []byte) []byte {
	const hex, short, letters = "0123456789abcdef", "\"\\\n\r\t", `"\nrt`
	for {
		n := skipPlain(text, 0)
		dst = appendUTF8(dst, text[:n])
		if n == len(text) {
			return dst
		}
		c := text[n]
		if i := strings.IndexByte(short, c); i >= 0 {
			dst = append(dst, '\\', letters[i])
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		text = text[n+1:]
	}
}

// appendUTF8 appends text with U+FFFD for each byte that is not UTF-8.
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
