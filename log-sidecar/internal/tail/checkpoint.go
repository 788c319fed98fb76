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

// fingerprintLen is how much of a file a checkpoint remembers at its beginning
// and before its offset. Access lines are some 90 bytes, so it spans whole lines
// with their timestamps.
const fingerprintLen = 256

// A checkpoint says how far the log has been printed: everything before Offset
// in the file ID. An inode number proves little, for it is used again as soon as
// a file is deleted; so a checkpoint carries the content around it as well, and
// a file holds the checkpoint only if it has that content at those places.
// The zero value says that nothing has been printed yet.
type checkpoint struct { // with exported fields, for encoding/binary
	ID     fileID
	Offset int64
	MTime  int64 // of the file when it was last looked at, in ns since 1970
	Split  bool  // Offset is inside a line that is being printed in pieces

	Head uint64 // fingerprint of the file's first bytes, min(Offset, fingerprintLen) of them
	Tail uint64 // of as many before Offset
}

var crcTable = crc64.MakeTable(crc64.ECMA)

// fingerprint stands for content; that of no bytes is 0.
func fingerprint(content []byte) uint64 { return crc64.Checksum(content, crcTable) }

func (c *checkpoint) isZero() bool { return c.ID == fileID{} }

// known is how many bytes each of the fingerprints was taken of.
func (c *checkpoint) known() int { return int(min(c.Offset, fingerprintLen)) }

// advance moves the checkpoint n bytes on. buf begins with the known bytes before
// it, and has those n bytes behind them.
func (c *checkpoint) advance(buf []byte, n int) {
	end := c.known() + n
	if c.Offset < fingerprintLen { // then buf begins where the file does
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

// The stored form: a magic, the checkpoint, and the fingerprint of all that.
const magic = "LOGSIDE2"

var checkpointLen = len((&checkpoint{}).appendTo(nil))

// appendTo appends the stored form to dst and returns it.
func (c *checkpoint) appendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, magic...)
	dst, _ = binary.Append(dst, binary.LittleEndian, c) // fails only where a field has no fixed size
	return binary.LittleEndian.AppendUint64(dst, fingerprint(dst[start:]))
}

// errDamaged is returned for a stored checkpoint that cannot be relied on.
var errDamaged = errors.New("checkpoint is damaged")

// parseCheckpoint reads the stored form; b is not retained. Anything but a whole
// checkpoint, bit for bit as it was written, is errDamaged.
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

// A store keeps the checkpoint in a file. It is written over in place with one
// write(2) of fixed size: some microseconds, which is cheap enough for every
// batch. A kill cannot tear such a write; if something else does, the checksum
// says so. It need not survive the machine, because an emptyDir does not either.
type store struct {
	file *os.File // nil keeps nothing
	buf  []byte
}

// openStore opens the checkpoint in dir and returns what it says. A damaged one
// is returned as the zero checkpoint with errDamaged; the store works all the same.
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
