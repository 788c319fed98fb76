package position

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/logfiles"
)

const logPath = "/var/log/app/access.log"

// open opens the store in dir until the test ends.
func open(t testing.TB, dir string) (*Store, Loaded) {
	t.Helper()
	s, loaded, err := Open(dir, logPath)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s, loaded
}

// reopen returns what is found when the store in dir is closed and opened again.
func reopen(t testing.TB, dir string, s *Store) Loaded {
	t.Helper()
	require.NoError(t, s.Close())
	s, loaded := open(t, dir)
	require.NoError(t, s.Close())
	return loaded
}

// save saves n positions that are all different.
func save(t testing.TB, s *Store, n int) []Position {
	t.Helper()
	saved := make([]Position, n)
	for i := range saved {
		saved[i] = Position{ID: logfiles.ID{Dev: 1, Ino: uint64(i)}, Offset: int64(i) + 1}
		require.NoError(t, s.Save(&saved[i]))
	}
	return saved
}

// filled returns a directory with n positions in its store, which is closed.
func filled(t testing.TB, n int) (dir string, saved []Position) {
	t.Helper()
	dir = t.TempDir()
	s, _ := open(t, dir)
	saved = save(t, s, n)
	require.NoError(t, s.Close())
	return dir, saved
}

// content returns the bytes of the store in dir.
func content(t testing.TB, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	require.NoError(t, err)
	return b
}

func setContent(t testing.TB, dir string, b []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, fileName), b, 0o600))
}

func TestPositionsSurviveRestarts(t *testing.T) {
	const most = 1<<64 - 1
	dir := filepath.Join(t.TempDir(), "lib", "log-sidecar") // which is made
	s, loaded := open(t, dir)
	assert.Equal(t, Loaded{}, loaded, "a first start")
	positions := []Position{
		{Offset: 1},
		{ID: logfiles.ID{Dev: most, Ino: most - 1}, Offset: 1<<63 - 1, Head: most, Tail: most - 2, Order: 1<<63 - 1},
		{ID: logfiles.ID{Dev: 1, Ino: 2}, Offset: 3, Head: 4, Tail: 5, Order: 6},
		{Offset: 1, Order: -1},
		{Offset: 1, Split: true},
		{Offset: 1, Copy: true},
		{Offset: 1, Done: true},
		{Offset: 1, Split: true, Copy: true, Done: true},
		at(t, lines(50)),
	}
	for i := range positions {
		require.NoError(t, s.Save(&positions[i]))
	}
	for range 3 {
		require.NoError(t, s.Close())
		s, loaded = open(t, dir)
		assert.Equal(t, Loaded{Positions: positions}, loaded)
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Zero(t, info.Mode().Perm()&0o077, "it is nobody else's")
}

func TestSlotsAreUsedAgain(t *testing.T) {
	for name, restart := range map[string]bool{"in one life": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := open(t, dir)
			saved := save(t, s, 5)
			size := len(content(t, dir))
			for range 100 { // in place
				saved[2].Offset++
				require.NoError(t, s.Save(&saved[2]))
			}
			for _, i := range []int{1, 3} {
				require.NoError(t, s.Drop(&saved[i]))
				require.NoError(t, s.Drop(&saved[i]), "once more does nothing")
			}
			if restart {
				require.NoError(t, s.Close())
				var loaded Loaded
				s, loaded = open(t, dir)
				assert.Equal(t, Loaded{Positions: []Position{saved[0], saved[2], saved[4]}}, loaded)
			}
			for _, i := range []int{1, 3} {
				saved[i].Offset = 100
				require.NoError(t, s.Save(&saved[i]))
			}
			assert.Len(t, content(t, dir), size)
			assert.Equal(t, saved, reopen(t, dir, s).Positions)
		})
	}
}

// Whatever happens to a slot, no other position is lost, and it is said at one start only.
func TestDamagedSlotCostsOnlyItsPosition(t *testing.T) {
	const slot = 2 // of the middle one of three positions
	for _, test := range []struct {
		name   string
		damage func(slot []byte)
		want   int
	}{
		{"torn", func(slot []byte) { clear(slot[30:]) }, 1},
		{"all ones", func(slot []byte) { copy(slot, bytes.Repeat([]byte{0xff}, slotSize)) }, 1},
		{"text", func(slot []byte) { copy(slot, lines(3)) }, 1},
		{"a header", func(slot []byte) { copy(slot, header(logPath)) }, 1},
		{"a negative offset", func(slot []byte) { copy(slot, (&Position{Offset: -1}).appendTo(nil)) }, 1},
		{"no offset", func(slot []byte) { copy(slot, (&Position{}).appendTo(nil)) }, 1},
		{"free", func(slot []byte) { clear(slot) }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir, saved := filled(t, 3)
			stored := content(t, dir)
			test.damage(stored[slot*slotSize:][:slotSize])
			setContent(t, dir, stored)
			others := []Position{saved[0], saved[2]}

			s, loaded := open(t, dir)
			assert.Equal(t, Loaded{Positions: others, Damaged: test.want}, loaded)
			assert.Equal(t, Loaded{Positions: others}, reopen(t, dir, s), "it is said once")

			s, _ = open(t, dir)
			again := save(t, s, 1)
			assert.Len(t, content(t, dir), len(stored), "the slot is used again")
			assert.Equal(t, []Position{saved[0], again[0], saved[2]}, reopen(t, dir, s).Positions)
		})
	}
}

func TestAnyFlippedBitIsNoticed(t *testing.T) {
	p := at(t, lines(50))
	p.Split, p.Done = true, true
	valid := p.appendTo(nil)
	got, ok := parse(valid)
	require.True(t, ok)
	require.Equal(t, p, got)
	for bit := range 8 * slotSize {
		damaged := bytes.Clone(valid)
		damaged[bit/8] ^= 1 << (bit % 8)
		_, ok := parse(damaged)
		require.False(t, ok, "bit %d", bit)
	}
}

// It ends anywhere, as where the disk was full.
func TestTornStore(t *testing.T) {
	dir, saved := filled(t, 3)
	stored := content(t, dir)
	for size := range len(stored) {
		setContent(t, dir, stored[:size])
		s, loaded := open(t, dir)
		whole := max(0, size/slotSize-1)
		require.Len(t, loaded.Positions, whole, "%d bytes", size)
		require.Equal(t, saved[:whole], append([]Position{}, loaded.Positions...))
		torn := 0
		if size > slotSize && size%slotSize > 0 && slices.Max(stored[size-size%slotSize:size]) > 0 {
			torn = 1
		}
		require.Equal(t, torn, loaded.Damaged, "%d bytes", size)
		require.Empty(t, loaded.SetAside)
		require.Equal(t, Loaded{Positions: loaded.Positions}, reopen(t, dir, s), "%d bytes", size)
	}
}

func TestStateOfAnotherFormIsSetAside(t *testing.T) {
	ours := header(logPath)
	for name, state := range map[string][]byte{
		"another version":    seal(append([]byte("LOGSIDE9"), make([]byte, slotSize-16)...)),
		"a damaged header":   append([]byte{ours[0] ^ 1}, ours[1:]...),
		"a damaged checksum": append(bytes.Clone(ours[:slotSize-1]), ours[slotSize-1]^1),
		"text":               []byte(lines(50)),
		"NULs":               make([]byte, 3*slotSize),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			state := (&Position{Offset: 1}).appendTo(bytes.Clone(state))
			setContent(t, dir, state)
			s, loaded := open(t, dir)
			aside := filepath.Join(dir, "positions.old")
			assert.Equal(t, Loaded{SetAside: aside}, loaded)
			kept, err := os.ReadFile(aside)
			require.NoError(t, err)
			assert.Equal(t, state, kept)

			saved := save(t, s, 2)
			assert.Equal(t, Loaded{Positions: saved}, reopen(t, dir, s))
		})
	}
}

func TestCheckpointOfVersion01IsSetAside(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "checkpoint")
	for _, want := range []Loaded{
		{SetAside: old + ".old"},
		{}, // said once: no line is printed again for another one
	} {
		require.NoError(t, os.WriteFile(old, []byte("LOGSIDE1"), 0o600))
		s, loaded := open(t, dir)
		assert.Equal(t, want, loaded)
		assert.Equal(t, Loaded{}, reopen(t, dir, s))
	}
	kept, err := os.ReadFile(old + ".old")
	require.NoError(t, err)
	assert.Equal(t, "LOGSIDE1", string(kept))
}

func TestPositionsOfAnotherLogAreTold(t *testing.T) {
	dir, saved := filled(t, 2)
	s, loaded, err := Open(dir, "/var/log/other.log")
	require.NoError(t, err)
	assert.Equal(t, Loaded{Positions: saved, OtherLog: true}, loaded, "a renamed log has them still")
	require.NoError(t, s.Close())
	s, loaded, err = Open(dir, "/var/log/other.log")
	require.NoError(t, err)
	assert.Equal(t, Loaded{Positions: saved}, loaded, "they are its own now")
	require.NoError(t, s.Close())
}

func TestStoreInUse(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	saved := save(t, s, 1)
	for range 2 {
		_, _, err := Open(dir, logPath)
		require.ErrorIs(t, err, ErrInUse)
	}
	saved[0].Offset++
	require.NoError(t, s.Save(&saved[0]))
	assert.Equal(t, Loaded{Positions: saved}, reopen(t, dir, s))
}

func TestNoDirectoryKeepsNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	s, loaded := open(t, "")
	assert.Equal(t, Loaded{}, loaded)
	saved := save(t, s, 3)
	require.NoError(t, s.Drop(&saved[0]))
	require.NoError(t, s.Close())
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	assert.Empty(t, entries)
}

func TestErrorsAreReturned(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	saved := save(t, s, 2)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Save(&saved[0]), os.ErrClosed)
	require.ErrorIs(t, s.Drop(&saved[1]), os.ErrClosed)
	_, err := saved[0].IsHeldBy(s.file)
	require.ErrorIs(t, err, os.ErrClosed)
	_, err = At(s.file, 10)
	require.ErrorIs(t, err, os.ErrClosed)

	require.NoError(t, os.MkdirAll(filepath.Join(dir, "taken", fileName), 0o700))
	for _, unusable := range []string{filepath.Join(dir, fileName), filepath.Join(dir, fileName, "x"), filepath.Join(dir, "taken")} {
		_, _, err := Open(unusable, logPath)
		require.ErrorContains(t, err, dir, "it is said which")
	}
}

func TestFullStore(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	nothing := Position{ID: logfiles.ID{Dev: 1, Ino: 2}}
	require.NoError(t, s.Save(&nothing))
	require.NoError(t, s.Drop(&nothing))
	assert.Len(t, content(t, dir), slotSize, "nothing printed is not stored")
	saved := save(t, s, maxSlots-1)
	size := len(content(t, dir))
	assert.Equal(t, maxSlots*slotSize, size)
	one := Position{Offset: 1}
	for range 2 {
		require.ErrorContains(t, s.Save(&one), "8191 files")
	}
	require.NoError(t, s.Drop(&one), "it has no slot")
	saved[10].Offset = 1 << 40
	require.NoError(t, s.Save(&saved[10]), "those that have one go on")
	require.NoError(t, s.Close())

	s, loaded := open(t, dir)
	require.Equal(t, Loaded{Positions: saved}, loaded)
	require.ErrorContains(t, s.Save(&one), "8191 files")
	require.NoError(t, s.Drop(&saved[100]))
	require.NoError(t, s.Save(&one))
	saved[100] = one
	assert.Len(t, content(t, dir), size)
	assert.Equal(t, saved, reopen(t, dir, s).Positions)
}

// Any bytes may be there, of another program, another version, or a broken disk. sealed
// gives them the checksums and the beginning of ours.
func FuzzOpen(f *testing.F) {
	_, saved := filled(f, 3)
	slots := slices.Clone(header(logPath))
	for i := range saved {
		slots = saved[i].appendTo(slots)
	}
	for _, sealed := range []bool{false, true} {
		f.Add([]byte{}, sealed)
		f.Add([]byte(magic), sealed)
		f.Add(slots, sealed)
		f.Add(slots[:len(slots)-10], sealed)
		f.Add(append(bytes.Clone(slots), "and more"...), sealed)
		f.Add(make([]byte, 3*slotSize), sealed)
		f.Add(bytes.Repeat([]byte{0xff}, 3*slotSize), sealed)
		f.Add([]byte(lines(20)), sealed)
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
		setContent(t, dir, stored)
		s, loaded := open(t, dir)
		require.LessOrEqual(t, len(loaded.Positions)+loaded.Damaged, len(stored)/slotSize+1)
		require.Equal(t, len(stored) >= slotSize && !isSealed(stored[:slotSize], magic), loaded.SetAside != "")
		for i := range loaded.Positions {
			p := &loaded.Positions[i]
			require.Positive(t, p.Offset)
			got, ok := parse(p.appendTo(nil))
			require.True(t, ok)
			got.slot = p.slot
			require.Equal(t, *p, got)
			require.NoError(t, s.Save(p))
		}
		one := Position{Offset: 1}
		require.NoError(t, s.Save(&one))
		want := append(slices.Clone(loaded.Positions), one)
		slices.SortFunc(want, func(a, b Position) int { return a.slot - b.slot })
		require.Equal(t, Loaded{Positions: want}, reopen(t, dir, s))
	})
}
