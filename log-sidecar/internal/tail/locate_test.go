package tail

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// located writes files, oldest first and the last one live, and asks locate for
// the checkpoint behind offset bytes of old, with the identity of the file named.
func located(t *testing.T, contents []string, old string, offset int, identity int) (holder string, after []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	began := time.Now().Add(-time.Hour)
	for i, content := range contents {
		name := numbered(path, len(contents)-1-i)
		if i == len(contents)-1 {
			name = path
		}
		require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
		written := began.Add(time.Duration(i+1) * time.Minute)
		require.NoError(t, os.Chtimes(name, written, written))
	}
	files, err := list(path)
	require.NoError(t, err)

	at := checkpoint{ID: fileID{Dev: 1, Ino: 1}, MTime: began.Add(90 * time.Second).UnixNano()} // between the first two
	if identity >= 0 {
		at.ID = files[identity].id
	}
	at.advance([]byte(old), offset)
	f, rest, err := locate(files, &at)
	require.NoError(t, err)
	if f != nil {
		holder = filepath.Base(f.path)
	}
	for _, f := range rest {
		after = append(after, filepath.Base(f.path))
	}
	return holder, after
}

func TestLocate(t *testing.T) {
	const gone = -1
	for name, test := range map[string]struct {
		contents []string
		old      string
		identity int // which of the files has the checkpoint's inode
		holder   string
		after    []string
	}{
		"the live file": {[]string{"old\n"}, "old\n", 0, "access.log", nil},
		"more has come": {[]string{"old\nmore\n"}, "old\n", 0, "access.log", nil},
		"it was renamed": {[]string{"old\n", "b\n", "c\n"}, "old\n", 0,
			"access.log.2", []string{"access.log.1", "access.log"}},
		"nothing of it was read": {[]string{"a\n", "b\n", "c\n"}, "", 1,
			"access.log.1", []string{"access.log"}},
		"copied and truncated": {[]string{"x\n", "old\n", "new\n"}, "old\n", 2,
			"access.log.1", []string{"access.log"}},
		"copied and truncated, then renamed": {[]string{"x\n", "old\n", "new\n", "newer\n"}, "old\n", 2,
			"access.log.2", []string{"access.log.1", "access.log"}},
		"copied and truncated twice": {[]string{"x\n", "old\n", "new\n", ""}, "old\n", 3,
			"access.log.2", []string{"access.log.1", "access.log"}},
		"truncated, with no copy": {[]string{"x\n", "y\n", "new\n"}, "old\n", 2,
			"", []string{"access.log.1", "access.log"}},
		"truncated, and an older file has the same content": {[]string{"old\n", "new\n"}, "old\n", 1,
			"", []string{"access.log"}},
		"deleted": {[]string{"x\n", "y\n", "new\n"}, "old\n", gone,
			"", []string{"access.log.1", "access.log"}},
		"deleted, and another file has the same content": {[]string{"x\n", "old\n", "old\n"}, "old\n", gone,
			"", []string{"access.log.1", "access.log"}},
		"nothing at all": {nil, "old\n", gone, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			holder, after := located(t, test.contents, test.old, len(test.old), test.identity)
			require.Equal(t, test.holder, holder)
			require.Equal(t, test.after, after)
		})
	}
}

// After a reboot the device of a volume may have another number.
func TestADeviceWithAnotherNumberHoldsTheSameFiles(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(5)
	s.look()
	at := s.tailer.reader.at
	at.ID.Dev++
	require.NoError(t, s.tailer.reader.store.save(&at))
	s.kill()
	w.some(5)
	w.rotate()
	w.some(5)
	s.look()
	s.want(w.lines)
	require.Zero(t, s.tailer.Status().Gaps)
}
