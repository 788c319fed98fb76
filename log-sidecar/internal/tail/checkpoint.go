package tail

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// fingerprintLen is how much of a file a checkpoint remembers at its beginning
// and before its offset. Access lines are some 90 bytes, so it spans whole lines
// with their timestamps.
const fingerprintLen = 256

// A checkpoint says how far the log has been printed: everything before offset
// in the file id. An inode number proves little, for it is used again as soon as
// a file is deleted; so a checkpoint carries the content around it as well, and
// a file holds the checkpoint only if it has that content at those places.
// The zero value says that nothing has been printed yet.
type checkpoint struct {
	id     fileID
	offset int64
	mtime  int64 // of the file when it was last looked at, in ns since 1970
	split  bool  // offset is inside a line that is being printed in pieces

	head [fingerprintLen]byte // the file's first bytes, min(offset, fingerprintLen) of them
	tail [fingerprintLen]byte // as many before offset
}

func (c *checkpoint) isZero() bool { return c.id == fileID{} }

// known is how many bytes of head and of tail are set.
func (c *checkpoint) known() int { return int(min(c.offset, fingerprintLen)) }

// advance moves the checkpoint behind the first n bytes of data, which stands at
// its offset. buf is what ends with data and begins with the tail before it.
func (c *checkpoint) advance(buf []byte, n int) {
	known := c.known()
	if known < fingerprintLen {
		copy(c.head[known:], buf[known:known+n])
	}
	c.offset += int64(n)
	end := known + n
	copy(c.tail[:], buf[end-c.known():end])
}

// isIn reports whether the file f holds the checkpoint: whether it has the
// remembered bytes at the remembered places.
func (c *checkpoint) isIn(f io.ReaderAt) (bool, error) {
	known := c.known()
	var got [fingerprintLen]byte
	for _, part := range []struct {
		want   []byte
		offset int64
	}{
		{c.head[:known], 0},
		{c.tail[:known], c.offset - int64(known)},
	} {
		step()
		n, err := f.ReadAt(got[:known], part.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if !bytes.Equal(got[:n], part.want) {
			return false, nil
		}
	}
	return true, nil
}

// The stored form: a magic, the fields in little endian, a CRC-32C of all that.
const (
	checkpointMagic = "LOGSIDE1"
	checkpointLen   = len(checkpointMagic) + 8 + 8 + 8 + 8 + 1 + 2*fingerprintLen + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendTo appends the stored form to dst and returns it.
func (c *checkpoint) appendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, checkpointMagic...)
	for _, n := range []uint64{c.id.dev, c.id.ino, uint64(c.offset), uint64(c.mtime)} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	var split byte
	if c.split {
		split = 1
	}
	dst = append(dst, split)
	dst = append(dst, c.head[:]...)
	dst = append(dst, c.tail[:]...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// errDamaged is returned for a stored checkpoint that cannot be relied on.
var errDamaged = errors.New("checkpoint is damaged")

// parseCheckpoint reads the stored form; b is not retained. Anything but a whole
// checkpoint, bit for bit as it was written, is errDamaged.
func parseCheckpoint(b []byte) (checkpoint, error) {
	var c checkpoint
	if len(b) != checkpointLen || string(b[:len(checkpointMagic)]) != checkpointMagic {
		return c, errDamaged
	}
	body, sum := b[:checkpointLen-4], b[checkpointLen-4:]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return c, errDamaged
	}
	body = body[len(checkpointMagic):]
	next := func() uint64 {
		n := binary.LittleEndian.Uint64(body)
		body = body[8:]
		return n
	}
	c.id = fileID{dev: next(), ino: next()}
	c.offset, c.mtime = int64(next()), int64(next())
	c.split = body[0] == 1
	copy(c.head[:], body[1:])
	copy(c.tail[:], body[1+fingerprintLen:])
	if c.offset < 0 || body[0] > 1 {
		return checkpoint{}, errDamaged
	}
	return c, nil
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
