// Package enrich wraps log lines into records, one JSON object a line:
//
//	{"raw":<the line>,"host":"<hostname>","processed_at":"2026-11-22T15:43:51Z"}
//
// raw is the line itself where that is JSON, so that collectors see its fields,
// and else a JSON string of it, so that nothing is lost.
package enrich

import "time"

// A Field is a member that every record ends with.
type Field struct{ Key, Value string }

// An Encoder appends records to a buffer. It is not safe for concurrent use.
type Encoder struct {
	constant struct{ before, after []byte } // what stands around the time
	second   int64                          // since 1970, that end was made for
	end      []byte                         // of every record of this second
}

// NewEncoder returns an Encoder for records from host, each with the fields in
// the order given.
func NewEncoder(host string, fields []Field) *Encoder {
	e := &Encoder{}
	e.constant.before = appendMember(nil, "host", host)
	e.constant.before = append(e.constant.before, `,"processed_at":"`...)
	e.constant.after = append(e.constant.after, '"')
	for _, f := range fields {
		e.constant.after = appendMember(e.constant.after, f.Key, f.Value)
	}
	return e
}

func appendMember(dst []byte, key, value string) []byte {
	dst = append(dst, `,"`...)
	dst = appendString(dst, []byte(key))
	dst = append(dst, `":"`...)
	dst = appendString(dst, []byte(value))
	return append(dst, '"')
}

// SetTime sets processed_at of the records that follow; it is said in whole seconds.
func (e *Encoder) SetTime(now time.Time) {
	if now.Unix() == e.second {
		return
	}
	e.second = now.Unix()
	e.end = append(e.end[:0], e.constant.before...)
	e.end = now.UTC().AppendFormat(e.end, time.RFC3339)
	e.end = append(e.end, e.constant.after...)
}

const (
	recordStart  = `{"raw":`
	recordEnd    = "}\n"
	partialField = `,"partial":true`
)

// AppendRecord appends the record of line to dst and reports whether the line was
// JSON. line is not retained. SetTime must have been called.
func (e *Encoder) AppendRecord(dst, line []byte) (record []byte, isJSON bool) {
	isJSON = valid(line)
	dst = append(dst, recordStart...)
	if isJSON {
		dst = appendUTF8(dst, line)
	} else {
		dst = append(dst, '"')
		dst = appendString(dst, line)
		dst = append(dst, '"')
	}
	dst = append(dst, e.end...)
	return append(dst, recordEnd...), isJSON
}
