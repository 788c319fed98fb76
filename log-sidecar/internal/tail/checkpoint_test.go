package tail

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkpointAt is the checkpoint behind the first n bytes of text.
func checkpointAt(text string, n int) checkpoint {
	at := checkpoint{ID: fileID{Dev: 1, Ino: 2}, MTime: 3}
	at.advance([]byte(text), n)
	return at
}

func TestACheckpointIsReadAsItWasWritten(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 100)
	for _, n := range []int{0, 1, fingerprintLen - 1, fingerprintLen, fingerprintLen + 1, len(text)} {
		at := checkpointAt(text, n)
		at.Split = n%2 == 1
		stored := at.appendTo(nil)
		require.Len(t, stored, checkpointLen)
		got, err := parseCheckpoint(stored)
		require.NoError(t, err)
		require.Equal(t, at, got)
	}
}

func TestADamagedCheckpointIsNeverAccepted(t *testing.T) {
	at := checkpointAt(strings.Repeat("some line\n", 100), 700)
	valid := at.appendTo(nil)
	for bit := range 8 * len(valid) {
		damaged := bytes.Clone(valid)
		damaged[bit/8] ^= 1 << (bit % 8)
		_, err := parseCheckpoint(damaged)
		require.ErrorIs(t, err, errDamaged, "bit %d", bit)
	}
	for n := range valid {
		_, err := parseCheckpoint(valid[:n])
		require.ErrorIs(t, err, errDamaged, "torn after %d bytes", n)
		torn := append(bytes.Clone(valid[:n]), make([]byte, len(valid)-n)...)
		if !bytes.Equal(torn, valid) {
			_, err = parseCheckpoint(torn)
			require.ErrorIs(t, err, errDamaged, "NULs after %d bytes", n)
		}
	}
	_, err := parseCheckpoint(append(valid, 0))
	require.ErrorIs(t, err, errDamaged)
}

func FuzzParseCheckpoint(f *testing.F) {
	at := checkpointAt(strings.Repeat("some line\n", 100), 700)
	valid := at.appendTo(nil)
	f.Add(valid)
	f.Add([]byte{})
	f.Add([]byte(magic))
	f.Add(valid[:len(valid)-1])
	f.Add(append(bytes.Clone(valid), '\n'))
	f.Add(make([]byte, checkpointLen))
	f.Add(bytes.Repeat([]byte{0xff}, checkpointLen))
	for _, place := range []int{0, 8, 16, 24, 32, 40, 41, 48, checkpointLen - 1} {
		damaged := bytes.Clone(valid)
		damaged[place] ^= 0x80
		f.Add(damaged)
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		at, err := parseCheckpoint(stored)
		if err != nil {
			require.ErrorIs(t, err, errDamaged)
			require.True(t, at.isZero())
			return
		}
		// What is accepted is whole: it is stored as it was, bit for bit.
		require.Equal(t, stored, at.appendTo(nil))
		require.GreaterOrEqual(t, at.Offset, int64(0))
		for bit := range 8 {
			for place := 0; place < len(stored); place += 7 {
				damaged := bytes.Clone(stored)
				damaged[place] ^= 1 << bit
				_, err := parseCheckpoint(damaged)
				require.ErrorIs(t, err, errDamaged)
			}
		}
	})
}

func TestADamagedCheckpointIsSaidAndStartedWithout(t *testing.T) {
	at := checkpointAt(strings.Repeat("some line\n", 100), 700)
	valid := at.appendTo(nil)
	for name, stored := range map[string][]byte{
		"torn":     valid[:30],
		"too long": append(bytes.Clone(valid), valid...),
		"zeros":    make([]byte, checkpointLen),
		"text":     []byte("{\"offset\": 12}\n"),
		"flipped":  append([]byte{valid[0] ^ 1}, valid[1:]...),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			w.some(10)
			w.rotate()
			w.some(10)
			file := filepath.Join(s.cfg.StateDir, "checkpoint")
			require.NoError(t, os.WriteFile(file, stored, 0o600))

			s.look()
			s.want(w.lines) // from the oldest file on
			require.Contains(t, s.log.String(), "starting without a checkpoint")
			require.NotContains(t, s.log.String(), "lines may be missing")

			s.kill()
			w.some(1)
			s.look()
			s.want(w.lines) // and not another time
		})
	}
}

// What damages the checkpoint may do so each time; that must not end in a loop of
// crashes.
func TestADamagedCheckpointIsMendedAtOnce(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(s.cfg.StateDir, "checkpoint")
	require.NoError(t, os.WriteFile(file, []byte("torn"), 0o600))
	s.start()
	s.kill()
	before := s.log.String()
	require.Contains(t, before, "starting without a checkpoint")
	s.start()
	require.Equal(t, before, s.log.String(), "it is said once")
}

func TestAnEmptyCheckpointIsNone(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.cfg.StateDir, "checkpoint"), nil, 0o600))
	w := newWriter(t, s.path)
	w.some(3)
	s.look()
	s.want(w.lines)
	require.Empty(t, s.log.String())
}

func TestNewFailsWhereTheStateCannotBeKept(t *testing.T) {
	s := newSite(t)
	s.cfg.StateDir = filepath.Join(s.dir, "gone")
	_, err := New(s.cfg)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.MkdirAll(filepath.Join(s.cfg.StateDir, "checkpoint"), 0o755))
	_, err = New(s.cfg)
	require.Error(t, err)
}

func TestWithoutAStateDirEachStartIsAtTheOldestFile(t *testing.T) {
	s := newSite(t)
	s.cfg.StateDir = ""
	w := newWriter(t, s.path)
	w.some(3)
	w.rotate()
	w.some(3)
	s.look()
	s.kill()
	s.look()
	s.want(append(w.lines, w.lines...))
}

func TestACheckpointThatCannotBeSavedIsSaidOnceAndNoReasonToStop(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	s.start()
	require.NoError(t, s.tailer.reader.store.file.Close())
	for range 3 {
		w.some(2)
		s.look()
	}
	s.want(w.lines)
	require.Equal(t, 1, strings.Count(s.log.String(), "cannot be saved"))
}
