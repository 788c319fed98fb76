package enrich

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is how deep a line may be nested and still be carried as JSON. The
// record adds one level, and encoding/json reads 10,000 and no more.
const maxDepth = 9_999

// valid reports whether b is one JSON value (RFC 8259), white space around it
// allowed, nested no deeper than maxDepth. As in encoding/json, the bytes in a
// string need not be UTF-8. It does what json.Valid does, faster: that check is
// most of what a line costs.
func valid(b []byte) bool {
	i := value(b, space(b, 0), 0)
	return i >= 0 && space(b, i) == len(b)
}

// value reads the value at i and returns the index behind it, or -1.
func value(b []byte, i, depth int) int {
	if i >= len(b) {
		return -1
	}
	switch c := b[i]; {
	case c == '"':
		return str(b, i+1)
	case c == '{', c == '[':
		return container(b, i, depth+1)
	case c == '-', '0' <= c && c <= '9':
		return number(b, i)
	default:
		return literal(b, i)
	}
}

// container reads the object or array at i and returns the index behind it, or -1.
func container(b []byte, i, depth int) int {
	if depth > maxDepth {
		return -1
	}
	begin := b[i]
	end := begin + 2 // in ASCII ] stands two behind [, and } behind {
	i = space(b, i+1)
	if i < len(b) && b[i] == end {
		return i + 1
	}
	for {
		if begin == '{' {
			if i = key(b, i); i < 0 {
				return -1
			}
		}
		if i = value(b, i, depth); i < 0 {
			return -1
		}
		i = space(b, i)
		switch {
		case i < len(b) && b[i] == end:
			return i + 1
		case i < len(b) && b[i] == ',':
			i = space(b, i+1)
		default:
			return -1
		}
	}
}

// space returns the index of the first byte from i on that is no white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// key reads an object's key and its colon at i and returns where the value
// begins, or -1.
func key(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	if i = str(b, i+1); i < 0 {
		return -1
	}
	if i = space(b, i); i >= len(b) || b[i] != ':' {
		return -1
	}
	return space(b, i+1)
}

// str reads a string from behind its opening quote on and returns the index
// behind the closing one, or -1.
func str(b []byte, i int) int {
	for {
		if i = skipPlain(b, i); i >= len(b) {
			return -1
		}
		c := b[i]
		i++
		switch {
		case c == '"':
			return i
		case c != '\\' || i >= len(b):
			return -1
		case b[i] == 'u':
			for range 4 {
				if i++; i >= len(b) || !isHex(b[i]) {
					return -1
				}
			}
			i++
		default:
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i++
			default:
				return -1
			}
		}
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

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// number reads a number at i and returns the index behind it, or -1.
func number(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// digits reads at least one digit at i and returns the index behind them, or -1.
func digits(b []byte, i int) int {
	start := i
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	if i == start {
		return -1
	}
	return i
}

func literal(b []byte, i int) int {
	for _, word := range [...]string{"true", "false", "null"} {
		if len(b)-i >= len(word) && string(b[i:i+len(word)]) == word {
			return i + len(word)
		}
	}
	return -1
}

// appendString appends text as a JSON string without its quotes, and with U+FFFD
// for each byte that is not UTF-8, as encoding/json does.
func appendString(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	valid := utf8.Valid(text)
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
