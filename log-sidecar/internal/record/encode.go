package record

import (
	"bytes"
	"encoding/json/jsontext"
	"unicode/utf8"
)

// maxDepth is how deeply a line may be nested and still be carried as JSON. jq 1.6, Ruby,
// protobuf and Python refuse a whole record, host and all, that is nested a little over
// 100 to 1,000 levels deep; one level is the record's own.
const maxDepth = 64

// asRead are the rules by which encoding/json reads. json.Valid has them too, but takes
// 0.5 µs longer to say no, for an error that it throws away.
var asRead = []jsontext.Options{jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)}

// isJSON reports whether line can be a member's value as it is. What most lines are is told
// in a third of the time that jsontext takes.
func isJSON(line []byte) bool {
	return isFlat(line) || !isText(line) && jsontext.Value(line).IsValid(asRead...) && !isDeep(line)
}

// isFlat reports whether line is an object of strings and numbers in their plainest form,
// without a space between them. If not, it may be JSON all the same.
func isFlat(line []byte) bool {
	if len(line) == 0 || line[0] != '{' {
		return false
	}
	for {
		value := afterString(line[1:])
		if len(value) == 0 || value[0] != ':' {
			return false
		}
		value = value[1:]
		if line = afterNumber(value); line == nil {
			line = afterString(value)
		}
		if len(line) == 0 || line[0] != ',' {
			return string(line) == "}"
		}
	}
}

// isText reports whether line begins or ends as no JSON does. If not, it may be text all the
// same.
func isText(line []byte) bool {
	line = bytes.Trim(line, " \t\r")
	if len(line) == 0 {
		return true
	}
	first, last := line[0], line[len(line)-1]
	switch first {
	case '{':
		return last != '}'
	case '[':
		return last != ']'
	case '"', 't', 'f', 'n':
		return false
	default: // a number
		return last < '0' || last > '9'
	}
}

// afterString returns what follows the string that b begins with, or nil.
func afterString(b []byte) []byte {
	if len(b) == 0 || b[0] != '"' {
		return nil
	}
	for i, c := range b[1:] {
		switch {
		case c == '"':
			return b[i+2:]
		case c < ' ' || c == '\\':
			return nil
		}
	}
	return nil
}

// afterNumber returns what follows the number, without a sign or an exponent, that b begins
// with, or nil.
func afterNumber(b []byte) []byte {
	whole := digits(b)
	if whole == 0 || whole > 1 && b[0] == '0' {
		return nil
	}
	b = b[whole:]
	if len(b) == 0 || b[0] != '.' {
		return b
	}
	fraction := digits(b[1:])
	if fraction == 0 {
		return nil
	}
	return b[1+fraction:]
}

// digits returns how many digits b begins with.
func digits(b []byte) (n int) {
	for n < len(b) && '0' <= b[n] && b[n] <= '9' {
		n++
	}
	return n
}

// isDeep reports whether valid JSON is nested deeper than maxDepth. Nearly no line is long
// enough for that, or has as many brackets.
func isDeep(valid []byte) bool {
	if len(valid) <= 2*maxDepth || bytes.Count(valid, []byte("["))+bytes.Count(valid, []byte("{")) <= maxDepth {
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(valid); i++ {
		switch c := valid[i]; {
		case c == '"':
			inString = !inString
		case inString && c == '\\':
			i++ // what is escaped may be a quote
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// appendJSON appends a part of a line that is JSON, with U+FFFD for each byte that is not
// UTF-8. What is a control character to a terminal stands only in strings there, so that
// its escape means the same.
func appendJSON(dst, part []byte) []byte { return appendSafe(dst, part, appendUTF8) }

// appendText appends text as a JSON string without the quotes, with U+FFFD for each byte
// that is not UTF-8.
func appendText(dst, text []byte) []byte { return appendSafe(dst, text, appendUnquoted) }

// appendSafe leaves to encode everything but DEL and the C1 control characters, which JSON
// allows to stand as they are: as escapes they do nothing to the terminal of whoever reads
// the records with kubectl logs.
func appendSafe(dst, text []byte, encode func(dst, text []byte) []byte) []byte {
	// Looking for the first byte of each takes 3 ns a line, decoding the line 150.
	if bytes.IndexByte(text, 0x7f) < 0 && bytes.IndexByte(text, 0xc2) < 0 {
		return encode(dst, text)
	}
	const hex = "0123456789abcdef"
	for {
		i := bytes.IndexFunc(text, func(r rune) bool { return 0x7f <= r && r <= 0x9f })
		if i < 0 {
			return encode(dst, text)
		}
		dst = encode(dst, text[:i])
		r, size := utf8.DecodeRune(text[i:])
		dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xf])
		text = text[i+size:]
	}
}

func appendUnquoted(dst, text []byte) []byte {
	n := len(dst)
	dst, _ = jsontext.AppendQuote(dst, text) // its error says that there was invalid UTF-8
	return append(dst[:n], dst[n+1:len(dst)-1]...)
}

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
