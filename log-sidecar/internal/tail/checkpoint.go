package tail

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"
)

// fingerprintLen is how many bytes a checkpoint fingerprints at the beginning of the file
// and before its offset. Access lines are about 90 bytes long, so it spans whole lines
// with their timestamps.
const fingerprintLen = 256

// A checkpoint says how far the log has been printed: everything before Offset in the
// file with ID. An inode number proves little, because it may be reused as soon as a file
// is deleted. So a checkpoint also carries fingerprints of content, and a file holds the
// checkpoint only if it has that content in the same places. The zero value means that
// nothing has been printed yet.
type checkpoint struct { // fields are exported for encoding/binary
	ID     fileID
	Offset int64
	MTime  int64 // of the file when last read, Unix time in ns
	Split  bool  // Offset is inside a line that is being printed in pieces

	Head uint64 // fingerprint of the file's first known() bytes
	Tail uint64 // fingerprint of the known() bytes before Offset
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// fingerprint returns a checksum of content; that of no bytes is 0.
func fingerprint(content []byte) uint64 { return crc64.Checksum(content, crcTable) }

func (c *checkpoint) isZero() bool { return c.ID == fileID{} }

// known returns how many bytes each fingerprint covers.
func (c *checkpoint) known() int { return int(min(c.Offset, fingerprintLen)) }

// advance moves the checkpoint forward by n bytes. buf begins with the known() bytes
// before the checkpoint, followed by those n.
func (c *checkpoint) advance(buf []byte, n int) {
	end := c.known() + n
	if c.Offset < fingerprintLen { // buf begins where the file does
		c.Head = fingerprint(buf[:min(end, fingerprintLen)])
	}
	c.Offset += int64(n)
	c.Tail = fingerprint(buf[end-c.known() : end])
}

// isIn reports whether the file f holds the checkpoint.
func (c *checkpoint) isIn(f io.ReaderAt) (bool, error) {
	var buf [fingerprintLen]byte
	content := buf[:c.known()]
	for _, part := range []struct {
		offset int64
		want   uint64
	}{{0, c.Head}, {c.Offset - int64(len(content)), c.Tail}} {
		step()
		n, err := f.ReadAt(content, part.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if fingerprint(content[:n]) != part.want {
			return false, nil
		}
	}
	return true, nil
}

// The stored form is magic, the checkpoint, and the fingerprint of both.
const magic = "LOGSIDE2"

var checkpointLen = len((&checkpoint{}).appendTo(nil))

// appendTo appends the stored form to dst and returns it.
func (c *checkpoint) appendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst, _ = binary.Append(dst, binary.LittleEndian, c) // fails only if a field has no fixed size
	return binary.LittleEndian.AppendUint64(dst, fingerprint(dst[start:]))
}

// errDamaged is returned for a stored checkpoint that cannot be trusted.
var errDamaged = errors.New("checkpoint is damaged")

// parseCheckpoint reads the stored form; b is not retained. It returns errDamaged unless
// b is, bit for bit, what appendTo wrote.
func parseCheckpoint(b []byte) (checkpoint, error) {
	var c checkpoint
	if len(b) == checkpointLen {
		_, _ = binary.Decode(b[len(magic):], binary.LittleEndian, &c) // b is long enough
		if c.Offset >= 0 && bytes.Equal(c.appendTo(nil), b) {
			return c, nil
		}
	}
	return checkpoint{}, errDamaged
}

// A store keeps the checkpoint in a file, overwritten in place with one write(2) of fixed
// size. That takes a few microseconds, which is cheap enough for every batch. A kill
// cannot tear such a write; if something else does, the checksum reveals it. There is no
// fsync, because the checkpoint need not survive the machine: an emptyDir does not
// either.
type store struct {
	file *os.File // nil keeps nothing
	buf  []byte
}

// openStore opens the store in dir and returns its checkpoint. If that is damaged, it
// returns the zero checkpoint and errDamaged; the store can be used all the same.
func openStore(dir string) (*store, checkpoint, error) {
	if dir == "" {
		return &store{}, checkpoint{}, nil
	}
	file, err := os.OpenFile(filepath.Join(dir, "checkpoint"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, checkpoint{}, err
	}
	s := &store{file: file}
	stored, err := io.ReadAll(io.LimitReader(file, int64(checkpointLen)+1))
	if err != nil {
		return nil, checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	if len(stored) == 0 {
		return s, checkpoint{}, nil
	}
	c, err := parseCheckpoint(stored)
	if err != nil {
		err = errors.Join(err, file.Truncate(0))
	}
	return s, c, err
}

func (s *store) save(c *checkpoint) error {
	if s.file == nil {
		return nil
	}
	step()
	s.buf = c.appendTo(s.buf[:0])
	_, err := s.file.WriteAt(s.buf, 0)
	return err
}
