package position

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/logfiles"
)

const logPath = "/var/log/app/access.log"

// open opens the store in dir until the test ends.
func open(t testing.TB, dir, path string) (*Store, Loaded) {
	t.Helper()
	s, loaded, err := Open(dir, path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s, loaded
}

// reopen closes s, opens its directory again, and returns what it finds there.
func reopen(t testing.TB, dir string, s *Store) Loaded {
	t.Helper()
	require.NoError(t, s.Close())
	s, loaded := open(t, dir, logPath)
	require.NoError(t, s.Close())
	return loaded
}

// filled returns a store with n positions that are all different.
func filled(t testing.TB, n int) (dir string, s *Store, saved []Position) {
	t.Helper()
	dir = t.TempDir()
	s, _ = open(t, dir, logPath)
	saved = make([]Position, n)
	for i := range saved {
		saved[i] = Position{ID: logfiles.ID{Dev: 1, Ino: uint64(i)}, Offset: int64(i) + 1}
		require.NoError(t, s.Save(&saved[i]))
	}
	return dir, s, saved
}

func TestPositionsSurviveRestarts(t *testing.T) {
	const most = 1<<64 - 1
	dir := filepath.Join(t.TempDir(), "lib", "log-sidecar") // which is made
	s, loaded := open(t, dir, logPath)
	assert.Equal(t, Loaded{}, loaded, "a first start")
	positions := []Position{
		{
			ID: logfiles.ID{Dev: most, Ino: most - 1}, Offset: 1<<63 - 1, Head: most, Tail: most - 2, Order: 1<<63 - 1,
			Split: true, Copy: true, Done: true,
		},
		{ID: logfiles.ID{Dev: 1, Ino: 2}, Offset: 3, Head: 4, Tail: 5, Order: -6},
		{Offset: 1, Split: true}, {Offset: 1, Copy: true}, {Offset: 1, Done: true},
	}
	for i := range positions {
		require.NoError(t, s.Save(&positions[i]))
	}
	const renamed = "/var/log/renamed.log"
	for i, path := range []string{logPath, logPath, renamed, renamed} {
		require.NoError(t, s.Close())
		s, loaded = open(t, dir, path)
		assert.Equal(t, Loaded{Positions: positions, OtherLog: i == 2}, loaded)
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Zero(t, info.Mode().Perm()&0o077, "it is nobody else's")
}

func TestFullStoreUsesSlotsAgain(t *testing.T) {
	dir, s, saved := filled(t, maxSlots-1)
	nothing, another := Position{}, Position{Offset: 1}
	require.NoError(t, s.Save(&nothing), "nothing printed is not stored")
	for _, restart := range []bool{false, true} {
		for range 2 {
			require.ErrorContains(t, s.Save(&another), "8191 files")
		}
		require.NoError(t, s.Drop(&another), "it has no slot")
		saved[10].Offset++
		require.NoError(t, s.Save(&saved[10]), "those that have one go on")
		dropped := saved[100]
		require.NoError(t, s.Drop(&dropped))
		if restart {
			require.Equal(t, slices.Concat(saved[:100], saved[101:]), reopen(t, dir, s).Positions)
			s, _ = open(t, dir, logPath)
		}
		saved[100] = Position{Offset: 100}
		require.NoError(t, s.Save(&saved[100]))
		require.NoError(t, s.Drop(&dropped), "once more does nothing")
	}
	require.ErrorContains(t, s.Save(&another), "8191 files")
	assert.Equal(t, Loaded{Positions: saved}, reopen(t, dir, s))
}

// Whatever happens to a slot, no other position is lost, and it is said at one start only.
func TestDamageCostsOnlyItsPosition(t *testing.T) {
	dir, s, saved := filled(t, 3)
	require.NoError(t, s.Close())
	path := filepath.Join(dir, fileName)
	stored, err := os.ReadFile(path)
	require.NoError(t, err)
	check := func(damaged []byte, want []Position, slots int, how ...any) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		s, loaded := open(t, dir, logPath)
		require.Equal(t, Loaded{Positions: want, Damaged: slots}, loaded, how...)
		require.Equal(t, Loaded{Positions: want}, reopen(t, dir, s), how...)
	}

	middle, others := stored[2*slotSize:3*slotSize], []Position{saved[0], saved[2]}
	for bit := range 8 * slotSize {
		middle[bit/8] ^= 1 << (bit % 8)
		check(stored, others, 1, "bit %d is flipped", bit)
		middle[bit/8] ^= 1 << (bit % 8)
	}
	for size := range slotSize { // it ends anywhere, as where the disk was full
		check(stored[:size], nil, 0, "%d bytes are there", size)
	}
	for size := range 3 * slotSize {
		whole := append([]Position(nil), saved[:size/slotSize]...)
		check(stored[:slotSize+size], whole, min(size%slotSize, 1), "%d bytes of slots are there", size)
	}
	for i, slot := range [][]byte{
		[]byte(lines(3)[:slotSize]), header(logPath), (&Position{Offset: -1}).appendTo(nil), (&Position{}).appendTo(nil),
	} {
		copy(middle, slot)
		check(stored, others, 1, "the slot is not a position: %d", i)
	}
	check(slices.Concat(stored[:slotSize], []byte(lines(20)[:3*slotSize])), nil, 3, "all of them are text")
	clear(middle)
	check(stored, others, 0, "the slot is free")

	s, _ = open(t, dir, logPath)
	saved[1] = Position{Offset: 5}
	require.NoError(t, s.Save(&saved[1]))
	assert.Equal(t, Loaded{Positions: saved}, reopen(t, dir, s), "the slot is used again")
}

func TestStateOfAnotherFormIsSetAside(t *testing.T) {
	ours := header(logPath)
	for _, test := range []struct {
		name, file string
		state      []byte
	}{
		{"another version", fileName, seal(append([]byte("LOGSIDE9"), make([]byte, slotSize-16)...))},
		{"a damaged header", fileName, append(bytes.Clone(ours[:slotSize-1]), ours[slotSize-1]^1)},
		{"NULs", fileName, make([]byte, slotSize)},
		{"the checkpoint of version 0.1", "checkpoint", []byte("LOGSIDE1")},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			state := (&Position{Offset: 1}).appendTo(test.state)
			require.NoError(t, os.WriteFile(filepath.Join(dir, test.file), state, 0o600))
			s, loaded := open(t, dir, logPath)
			assert.Equal(t, Loaded{SetAside: filepath.Join(dir, test.file+".old")}, loaded)
			kept, err := os.ReadFile(loaded.SetAside)
			require.NoError(t, err)
			assert.Equal(t, state, kept)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "checkpoint"), state, 0o600))
			assert.Equal(t, Loaded{}, reopen(t, dir, s), "once: no line is printed again for another checkpoint")
		})
	}
}

func TestNoDirectoryKeepsNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	s, loaded := open(t, "", logPath)
	assert.Equal(t, Loaded{}, loaded)
	p := Position{Offset: 1}
	require.NoError(t, s.Save(&p))
	require.NoError(t, s.Drop(&p))
	require.NoError(t, s.Close())
	assert.NoFileExists(t, fileName)
}

func TestErrorsAreReturned(t *testing.T) {
	dir, s, saved := filled(t, 2)
	for range 2 {
		_, _, err := Open(dir, logPath)
		require.ErrorIs(t, err, ErrInUse)
	}
	require.Equal(t, Loaded{Positions: saved}, reopen(t, dir, s))

	_, unknown := At(s.file, 10)
	_, held := saved[0].IsHeldBy(s.file)
	_, proven := (&Position{Offset: Proof}).Proves(s.file)
	for _, err := range []error{s.Save(&saved[0]), s.Drop(&saved[1]), unknown, held, proven} {
		require.ErrorIs(t, err, os.ErrClosed)
	}

	require.NoError(t, os.MkdirAll(filepath.Join(dir, "taken", fileName), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "pipe"), 0o700))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe", fileName), 0o600))
	for _, unusable := range []string{filepath.Join(dir, fileName), filepath.Join(dir, fileName, "x"), filepath.Join(dir, "taken"), filepath.Join(dir, "pipe")} {
		_, _, err := Open(unusable, logPath)
		require.ErrorContains(t, err, dir, "it is said which")
	}
	log := filepath.Join(dir, "log", fileName)
	require.NoError(t, os.Mkdir(filepath.Dir(log), 0o700))
	require.NoError(t, os.WriteFile(log, []byte(lines(20)), 0o600))
	_, _, err := Open(filepath.Dir(log), log)
	require.ErrorContains(t, err, log+" is the log")
	content, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, lines(20), string(content))
}

// Any bytes may be there, of another program, another version, or a broken disk. sealed
// gives them the checksums and the beginning of ours.
func FuzzOpen(f *testing.F) {
	slots := header(logPath)
	for i := range int64(3) {
		slots = (&Position{Offset: i}).appendTo(slots) // the first one is not valid
	}
	for _, stored := range [][]byte{nil, slots, slots[:len(slots)-10], []byte(lines(20))} {
		f.Add(stored, false)
		f.Add(stored, true)
	}
	f.Fuzz(func(t *testing.T, stored []byte, sealed bool) {
		if sealed && len(stored) >= slotSize {
			stored = bytes.Clone(stored)
			copy(stored, magic)
			for slot := range slices.Chunk(stored[:len(stored)/slotSize*slotSize], slotSize) {
				copy(slot, seal(bytes.Clone(slot[:slotSize-8])))
			}
		}
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, fileName), stored, 0o600))
		s, loaded := open(t, dir, logPath)
		require.LessOrEqual(t, len(loaded.Positions)+loaded.Damaged, len(stored)/slotSize+1)
		require.Equal(t, len(stored) >= slotSize && !isSealed(stored[:slotSize], magic), loaded.SetAside != "")
		for i := range loaded.Positions {
			require.NoError(t, s.Save(&loaded.Positions[i]))
		}
		want := append(loaded.Positions, Position{Offset: 1})
		require.NoError(t, s.Save(&want[len(want)-1]))
		slices.SortFunc(want, func(a, b Position) int { return a.slot - b.slot })
		require.Equal(t, Loaded{Positions: want}, reopen(t, dir, s))
	})
}
