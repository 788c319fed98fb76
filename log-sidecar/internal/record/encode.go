package record

import (
	"bytes"
	"encoding/json/jsontext"
	"io"
	"unicode/utf8"
)

// maxDepth is how deeply a line may be nested and still be carried as JSON. jq 1.6, Ruby,
// protobuf and Python refuse a whole record, host and all, that is nested a little over
// 100 to 1,000 levels deep; one level is the record's own.
const maxDepth = 64

// asRead are the rules by which encoding/json reads. json.Valid has them too, but takes
// 0.3 µs longer to say no, for an error that it throws away.
var asRead = []jsontext.Options{jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)}

// A validator tells which lines are JSON. Its decoder takes them for one stream of values,
// because setting one up for each line would take a third of the time.
type validator struct {
	decoder *jsontext.Decoder
	line    []byte // what the decoder has not read of it
}

func newValidator() *validator {
	v := &validator{}
	v.decoder = jsontext.NewDecoder(v, asRead...)
	return v
}

// Read gives the decoder the line.
func (v *validator) Read(b []byte) (int, error) {
	if len(v.line) == 0 {
		return 0, io.EOF
	}
	n := copy(b, v.line)
	v.line = v.line[n:]
	return n, nil
}

// isJSON reports whether line can be a member's value as it is.
func (v *validator) isJSON(line []byte) bool {
	if len(line) > chunkSize { // the decoder would keep as much memory
		return jsontext.Value(line).IsValid(asRead...) && !isDeep(line)
	}
	v.line = line
	_, err := v.decoder.ReadValue()
	if err != nil || !isBlank(v.decoder.UnreadBuffer()) || !isBlank(v.line) {
		v.decoder.Reset(v, asRead...)
		return false
	}
	return !isDeep(line)
}

func isBlank(b []byte) bool { return len(bytes.TrimLeft(b, " \t\r")) == 0 }

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
