package position

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"sidecar.example/log-sidecar/internal/logfiles"
)

// A Store keeps positions in slots of fixed size in one file, each overwritten in place
// with one write(2). That takes a few microseconds, which is cheap enough for every
// batch. A kill cannot tear such a write; if something else does, the slot's checksum
// reveals it, and only one file's position is lost. There is no fsync, because positions
// need not survive the machine: an emptyDir does not either.
//
// The first slot says which log the positions are of.
type Store struct {
	file  *os.File // nil keeps nothing
	first []byte   // the first slot, until it is written
	used  []bool   // by slot
	buf   []byte
}

const (
	fileName = "positions"
	slotSize = 64
	magic    = "LOGSIDE3"

	// maxSlots bounds the state to half a MiB: it has a volume of its own, which is small.
	maxSlots = 8192
)

// Flags of a stored position.
const (
	flagSplit = 1 << iota
	flagCopy
	flagDone
)

// ErrInUse is returned for a state directory that another process has open.
var ErrInUse = errors.New("another log-sidecar uses it")

// A Loaded tells what Open has found.
type Loaded struct {
	Positions []Position
	Damaged   int    // slots that cannot be trusted
	SetAside  string // a state of another form was moved to this path
	OtherLog  bool   // the positions are of another path
}

// Open opens the store in dir, which is made if it is missing, for the log at path. An
// empty dir keeps nothing.
func Open(dir, path string) (*Store, Loaded, error) {
	if dir == "" {
		return &Store{}, Loaded{}, nil
	}
	var loaded Loaded
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, loaded, err
	}
	name := filepath.Join(dir, fileName)
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, loaded, err
	}
	if err := isOurs(file, path); err != nil {
		return nil, loaded, errors.Join(err, file.Close())
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, loaded, errors.Join(err, file.Close())
	}
	s := &Store{file: file, first: header(path), used: []bool{true}}
	stored, err := io.ReadAll(io.LimitReader(file, maxSlots*slotSize))
	if err != nil {
		return nil, loaded, errors.Join(fmt.Errorf("read %s: %w", name, err), file.Close())
	}
	if len(stored) >= slotSize && !isSealed(stored[:slotSize], magic) {
		// Not ours, or of another version: kept, because somebody may want to see it.
		loaded.SetAside = name + ".old"
		if err := os.WriteFile(loaded.SetAside, stored, 0o600); err != nil {
			loaded.SetAside = fmt.Sprint("nowhere: ", err)
		}
		if err := file.Truncate(0); err != nil {
			return nil, loaded, errors.Join(err, file.Close())
		}
		stored = nil
	}
	if old := filepath.Join(dir, "checkpoint"); len(stored) == 0 && os.Rename(old, old+".old") == nil {
		loaded.SetAside = old + ".old" // of 0.1, which had one position for the whole log
	}
	if len(stored) >= slotSize {
		loaded.OtherLog = string(stored[:slotSize]) != string(s.first)
		for slot := range slices.Chunk(stored[slotSize:], slotSize) {
			s.used = append(s.used, false)
			p, ok := parse(slot)
			switch {
			case ok:
				p.slot = len(s.used) - 1
				s.used[p.slot] = true
				loaded.Positions = append(loaded.Positions, p)
			case !isFree(slot):
				loaded.Damaged++
				_ = s.clear(len(s.used) - 1) // said once, not at every start
			}
		}
	}
	// A full disk is no reason not to start: it costs a repetition after a restart.
	_ = s.begin()
	return s, loaded, nil
}

// isOurs returns an error if positions would be written over the log itself, or to what is no
// file: opening a pipe would wait for ever.
func isOurs(file *os.File, log string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if followed, err := os.Stat(log); err == nil && os.SameFile(info, followed) {
		return fmt.Errorf("%s is the log", file.Name())
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", file.Name())
	}
	return nil
}

// Save stores p. An error means that lines may be printed again after a restart.
func (s *Store) Save(p *Position) error {
	if s.file == nil || p.Offset == 0 {
		return nil
	}
	if p.slot == 0 {
		p.slot = slices.Index(s.used, false)
		if p.slot < 0 {
			if len(s.used) == maxSlots {
				p.slot = 0
				return fmt.Errorf("%d files have a position already", maxSlots-1)
			}
			p.slot = len(s.used)
			s.used = append(s.used, false)
		}
		s.used[p.slot] = true
	}
	s.buf = p.appendTo(s.buf[:0])
	return s.write(p.slot)
}

// Drop forgets p.
func (s *Store) Drop(p *Position) error {
	if s.file == nil || p.slot == 0 {
		return nil
	}
	slot := p.slot
	s.used[slot], p.slot = false, 0
	return s.clear(slot)
}

func (s *Store) clear(slot int) error {
	s.buf = append(s.buf[:0], make([]byte, slotSize)...)
	return s.write(slot)
}

func (s *Store) write(slot int) error {
	if err := s.begin(); err != nil {
		return err
	}
	_, err := s.file.WriteAt(s.buf, int64(slot)*slotSize)
	return err
}

// begin writes the first slot: without it, nothing that follows would be known as ours.
func (s *Store) begin() error {
	if s.first == nil {
		return nil
	}
	_, err := s.file.WriteAt(s.first, 0)
	if err == nil {
		s.first = nil
	}
	return err
}

// Close lets another process use the store.
func (s *Store) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// header returns the first slot.
func header(path string) []byte {
	b := binary.LittleEndian.AppendUint64([]byte(magic), fingerprint([]byte(path)))
	return seal(append(b, make([]byte, slotSize-8-len(b))...))
}

func (p *Position) appendTo(dst []byte) []byte {
	flags := bit(p.Split, flagSplit) | bit(p.Copy, flagCopy) | bit(p.Done, flagDone)
	for _, v := range [...]uint64{p.ID.Dev, p.ID.Ino, uint64(p.Offset), p.Head, p.Tail, uint64(p.Order), flags} {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	return seal(dst)
}

func bit(set bool, flag uint64) uint64 {
	if set {
		return flag
	}
	return 0
}

// parse returns the position in a slot, and whether there is one that can be trusted.
func parse(slot []byte) (Position, bool) {
	if !isSealed(slot, "") {
		return Position{}, false
	}
	var v [slotSize/8 - 1]uint64
	for i := range v {
		v[i] = binary.LittleEndian.Uint64(slot[8*i:])
	}
	p := Position{
		ID: logfiles.ID{Dev: v[0], Ino: v[1]}, Offset: int64(v[2]), Head: v[3], Tail: v[4], Order: int64(v[5]),
		Split: v[6]&flagSplit != 0, Copy: v[6]&flagCopy != 0, Done: v[6]&flagDone != 0,
	}
	return p, p.Offset > 0
}

// seal ends a slot with a checksum of what it holds.
func seal(b []byte) []byte { return binary.LittleEndian.AppendUint64(b, fingerprint(b)) }

func isSealed(slot []byte, prefix string) bool {
	const end = slotSize - 8
	return len(slot) == slotSize && string(slot[:len(prefix)]) == prefix &&
		binary.LittleEndian.Uint64(slot[end:]) == fingerprint(slot[:end])
}

func isFree(slot []byte) bool {
	return !slices.ContainsFunc(slot, func(b byte) bool { return b != 0 })
}
