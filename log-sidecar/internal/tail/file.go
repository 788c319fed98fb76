package tail

import (
	"bytes"
	"os"
	"time"
	"unicode/utf8"

	"sidecar.example/log-sidecar/internal/lines"
	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
)

// A file is one file of the log, and how far it has been printed.
type file struct {
	logfiles.File // as last seen

	at    lines.Place
	limit int64 // where this look ends; less than 0: it does not look at f
	end   int64 // where f ended at most, while it held its position

	truncated int64 // when it was last found to be, while it was the log; 0: never
	left      int64 // when it lost the log's name, as far as that can be told; 0: it has it

	open    *os.File  // nil: everything was printed, and nobody could write
	changed time.Time // when it was last seen to change
	held    time.Time // since when somebody is seen to write to it, though it is not live
	twin    *file     // what is not printed of it is in this one, too, and is left to that
	trouble error     // why it cannot be read

	listed    bool // it has a name of the log
	rest      bool // nothing has happened to it since it was closed
	ignored   bool // compressed, or shredded
	placed    bool // rotated before anything was in it: what comes yet has its place already
	rewritten bool // in place, after it was rotated
}

// A goneFile is what is left of a file that has gone: of its content, or all of it.
type goneFile struct {
	at       position.Position
	file     *file // as last seen; nil: in an earlier life
	unread   int64 // bytes that are known not to have been printed
	expected bool  // it should be there: who knows what it had
	found    bool  // another file goes on where it ended
}

// unread is how many bytes are known to be unprinted.
func (f *file) unread() int64 {
	if f.ignored || f.twin != nil || f.rest {
		return 0
	}
	return max(0, f.Size-f.at.Offset)
}

// isShredded reports whether f was overwritten with what is no text, and so may be about to
// be deleted.
func (f *file) isShredded() (bool, error) {
	if !f.rewritten || f.at.Next() > 0 || f.limit <= 0 {
		return false, nil
	}
	head, err := headOf(f.open, f.limit)
	return err == nil && !isText(head), err
}

// isText reports whether a file that begins with head holds lines, in any encoding.
func isText(head []byte) bool {
	if !bytes.Contains(head, []byte{'\n'}) { // one letter again and again is no text either
		return false
	}
	control := func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }
	if !bytes.ContainsFunc(head, control) {
		return true
	}
	for range utf8.UTFMax { // its end may be within a character
		if utf8.Valid(head) {
			return true
		}
		head = head[:len(head)-1]
	}
	return false
}

// printed is how far f is printed, with what needs no printing.
func (f *file) printed() int64 { return f.Size - f.unread() }

// see takes over what was found out about the file.
func (f *file) see(now *logfiles.File) {
	first := f.changed.IsZero()
	if !f.Same(now) || first {
		f.rest = false
		f.changed = time.Now()
		if at := time.Unix(0, now.Modified); at.Before(f.changed) {
			f.changed = at // it was quiet for a while before this look
		}
	}
	switch {
	case now.Live:
		f.left = 0
	case f.left != 0: // what has changed later, as by chmod, tells nothing
	case now.Changed > now.Modified:
		f.left = now.Changed
	case first: // somebody writes to it still
		f.left = now.Born
	default:
		f.left = max(f.Changed, now.Born)
	}
	f.File = *now
}

// close puts f to rest.
func (f *file) close() {
	if f.open != nil {
		_ = f.open.Close() // opened read-only: an error loses nothing
		f.open = nil
	}
	f.held = time.Time{}
}
