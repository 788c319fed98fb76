// Package position remembers how far each file of a log has been printed, over restarts,
// kills and whatever happens to the file meanwhile.
package position

import (
	"bytes"
	"errors"
	"hash/crc64"
	"io"

	"sidecar.example/log-sidecar/internal/logfiles"
)

// Window is how many bytes a position fingerprints at the beginning of the file and
// before its offset. Access lines are about 90 bytes long, so it spans whole lines with
// their timestamps.
const Window = 256

// Proof is how many bytes a file must share with another at least, where nothing but the
// content tells that it is a copy.
const Proof = Window / 2

// A Position says that a file has been printed up to Offset. An inode number proves
// little, because it may be reused as soon as a file is deleted. So a position also
// carries fingerprints of content, and a file holds the position only if it has that
// content in the same places. The zero value says that nothing has been printed; it never
// lies behind NULs alone, which would prove nothing.
type Position struct {
	ID     logfiles.ID
	Offset int64
	Head   uint64 // fingerprint of the file's first Window bytes before Offset
	Tail   uint64 // fingerprint of the Window bytes before Offset
	Order  int64  // a file with a smaller one was the log earlier
	Split  bool   // Offset is inside a line that is being printed in pieces
	Copy   bool   // another file has, or had, the same content
	Done   bool   // everything was printed and nobody could write any more

	slot int // in the store; 0: none
}

var crcTable = crc64.MakeTable(crc64.ECMA)

func fingerprint(content []byte) uint64 { return crc64.Checksum(content, crcTable) }

// known returns how many bytes a fingerprint of a position at offset covers.
func known(offset int64) int { return int(min(offset, Window)) }

// Advance moves the position over nuls NULs and then n bytes. content ends with those n,
// and begins at most Window bytes before them; it must reach back to the beginning of the
// file, or have all of the Window.
func (p *Position) Advance(nuls int64, content []byte, n int) {
	if room := Window - p.Offset; room > 0 {
		var zeros [Window]byte
		blank := min(nuls, room)
		p.Head = crc64.Update(p.Head, crcTable, zeros[:blank])
		p.Head = crc64.Update(p.Head, crcTable, content[len(content)-n:][:min(int64(n), room-blank)])
	}
	p.Offset += nuls + int64(n)
	p.Tail = fingerprint(content[len(content)-known(p.Offset):])
}

// Proves reports whether f, which holds the position, must be a copy of the file that it
// was in, where nothing but the content tells. A few bytes may be the same by chance, as
// every life of an app may begin with the same; and within one second a busy app may write
// the same lines into one file after the other.
func (p *Position) Proves(f io.ReaderAt) (bool, error) {
	if p.Offset < Proof {
		return false, nil
	}
	var buf [16 * Window]byte
	content := buf[:min(p.Offset, int64(len(buf)))]
	if _, err := f.ReadAt(content, p.Offset-int64(len(content))); err != nil {
		return false, err
	}
	end := content[len(content)-min(len(content)/2, Window):]
	return !bytes.Contains(content[:len(content)-1], end), nil
}

// MayBeHeldBy reports whether a file that begins with head, its first Window bytes or all
// that it has, may hold the position.
func (p *Position) MayBeHeldBy(head []byte) bool {
	n := known(p.Offset)
	return n <= len(head) && fingerprint(head[:n]) == p.Head
}

// Excludes reports whether a file that begins with head, its first Window bytes or all that
// it has, begins otherwise than the one that the position is in. A head of NULs tells
// nothing, see IsHeldBy.
func (p *Position) Excludes(head []byte) bool {
	n := known(p.Offset)
	return n <= len(head) && n > 0 && head[0] != 0 && fingerprint(head[:n]) != p.Head
}

// IsHeldBy reports whether f has the content that the position tells of. A head of NULs
// was punched out to give its disk space back (fallocate -p): then the tail decides.
func (p *Position) IsHeldBy(f io.ReaderAt) (bool, error) {
	var buf [Window]byte
	tail, err := read(f, &buf, p.Offset, p.Offset)
	if err != nil || fingerprint(tail) != p.Tail {
		return false, err
	}
	if p.Offset <= Window { // the head is the tail
		return true, nil
	}
	head, err := read(f, &buf, Window, p.Offset)
	return err == nil && (fingerprint(head) == p.Head || len(head) > 0 && head[0] == 0), err
}

// At returns the position at offset in f.
func At(f io.ReaderAt, offset int64) (Position, error) {
	var buf [Window]byte
	tail, err := read(f, &buf, offset, offset)
	if err != nil {
		return Position{}, err
	}
	p := Position{Offset: offset, Tail: fingerprint(tail)}
	head, err := read(f, &buf, Window, offset)
	p.Head = fingerprint(head)
	return p, err
}

// read reads the bytes before end, as many as a fingerprint of a position at offset
// covers; what lies behind the end of f is missing.
func read(f io.ReaderAt, buf *[Window]byte, end, offset int64) ([]byte, error) {
	n := known(offset)
	got, err := f.ReadAt(buf[:n], min(end, offset)-int64(n))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf[:got], err
}
