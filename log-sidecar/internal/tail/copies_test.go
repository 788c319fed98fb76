package tail

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sidecar.example/log-sidecar/internal/logfiles"
)

func TestMadeBeside(t *testing.T) {
	file := func(live bool, born, changed int64) logfiles.File {
		return logfiles.File{Live: live, Born: born, Changed: changed}
	}
	const live, rotated = true, false
	for _, test := range []struct {
		name  string
		f, of logfiles.File
		want  bool
	}{
		{"copied, then truncated", file(rotated, 5, 6), file(live, 1, 7), true},
		{"copied long ago", file(rotated, 5, 6), file(live, 1, 100), true},
		{"rotated before the live one was made", file(rotated, 1, 5), file(live, 5, 6), false},
		{"rotated in the tick in which the live one was made", file(rotated, 5, 5), file(live, 5, 6), false},

		{"made, then put in place of the log", file(live, 5, 7), file(rotated, 1, 6), true},
		{"made long before it was put there", file(live, 2, 7), file(rotated, 1, 6), true},
		{"made after the log was rotated", file(live, 7, 7), file(rotated, 1, 6), false},
		{"made in the tick of the rotation", file(live, 6, 7), file(rotated, 1, 6), false},

		{"both are rotated", file(rotated, 5, 6), file(rotated, 1, 7), false},
		{"no creation is known", file(rotated, 0, 6), file(live, 0, 7), false},
		{"no creation is known of the live one", file(live, 0, 7), file(rotated, 0, 6), false},
	} {
		assert.Equal(t, test.want, madeBeside(&test.f, &test.of), test.name)
	}
}

func TestKinship(t *testing.T) {
	made := func(live, listed bool, born int64, copied bool) *file {
		f := &file{File: logfiles.File{Live: live, Born: born, Modified: 50, Changed: 10}, listed: listed}
		f.at.Copy = copied
		return f
	}
	deleted := func(f *file) *file {
		f.Deleted = true
		return f
	}
	long := func(f *file) *file {
		f.at.Offset = maxSame
		return f
	}
	const live, listed, copied = true, true, true
	for _, test := range []struct {
		name          string
		f, g          *file
		sure, related bool
	}{
		{"two rotated files", made(!live, listed, 1, !copied), made(!live, listed, 2, !copied), false, true},
		{"two copies", made(!live, listed, 1, copied), made(!live, listed, 2, copied), true, true},
		{"a copy, and a file that is none", made(!live, listed, 1, copied), made(!live, listed, 2, !copied), false, true},
		{"a rotated file younger than the live one", made(!live, listed, 3, !copied), made(live, listed, 2, !copied), true, true},
		{"a rotated file older than the live one", made(!live, listed, 1, !copied), made(live, listed, 2, !copied), false, true},
		{"begun after the rotation", made(live, listed, 20, !copied), made(!live, listed, 2, !copied), false, false},
		{"begun after the rotation, and both are copies", made(live, listed, 20, copied), made(!live, listed, 2, copied), true, true},
		{"begun after the deletion", made(live, listed, 20, !copied), deleted(made(!live, !listed, 2, !copied)), false, false},
		{"restored after the deletion", made(live, listed, 60, !copied), deleted(made(!live, !listed, 2, !copied)), false, true},
		{"copied back after the deletion: too much to be the same", made(live, listed, 20, !copied), deleted(long(made(!live, !listed, 2, !copied))), false, true},
		{"made after the other was moved away, as editors do", made(live, listed, 20, !copied), made(!live, !listed, 2, !copied), false, true},
		{"there before the rotation", made(live, listed, 5, !copied), made(!live, listed, 2, !copied), false, true},
		{"there before the deletion: it has replaced the log", made(live, listed, 5, !copied), made(!live, !listed, 2, !copied), true, true},
	} {
		sure, related := kinship(test.f, test.g)
		assert.Equal(t, test.sure, sure, "%s: sure", test.name)
		assert.Equal(t, test.related, related, "%s: related", test.name)
	}
	f := made(!live, listed, 3, !copied)
	_, related := kinship(f, f)
	assert.False(t, related, "itself")
}

// What the model found: copies and rotations of one log between two looks.
func TestCopiesAmongRotations(t *testing.T) {
	for name, scene := range map[string]func(*site, *writer){
		"a log of one line is copied, truncated and deleted": func(s *site, w *writer) {
			w.some(1)
			s.look()
			afterATick(t, s.path) // else nothing tells which was made first
			w.copyTruncate()
			require.NoError(t, os.Remove(s.path))
			w.open()
		},
		"a backup is older than the position, and the log is copied and truncated while down": func(s *site, w *writer) {
			w.some(20)
			backup := content(t, s.path)
			made := time.Unix(0, look(t, s.path).Modified)
			w.some(10)
			s.look()
			s.kill()
			require.NoError(t, os.WriteFile(s.path+"-backup", backup, 0o644))
			require.NoError(t, os.Chtimes(s.path+"-backup", made, made))
			w.some(10)
			w.copyTruncate()
		},
		"a copy is seen, and the log is truncated while down": func(s *site, w *writer) {
			w.some(20)
			s.look()
			copyFile(s.t, s.path, s.path+".1")
			s.look()
			s.kill()
			require.NoError(t, os.Truncate(s.path, 0))
		},
		"the original of a copy in the making grows and is rotated": func(s *site, w *writer) {
			w.some(20)
			s.look()
			backup, err := os.Create(s.path + "-backup")
			require.NoError(t, err)
			defer backup.Close()
			w.some(10)
			_, err = backup.Write(content(t, s.path)[:1000])
			require.NoError(t, err)
			s.look()
			w.some(10)
			_, err = backup.Write(content(t, s.path)[1000:])
			require.NoError(t, err)
			w.some(10)
			w.rotate()
			w.some(10)
		},
		"a backup is made of what the log has after it was truncated": func(s *site, w *writer) {
			w.some(20)
			s.look()
			w.copyTruncate()
			w.some(10)
			afterATick(t, s.path) // else nothing tells which was made first
			copyFile(t, s.path, s.path+"-backup")
		},
		"the log stands between its copy and a backup of that": func(s *site, w *writer) {
			w.some(10)
			s.look()
			w.some(10)
			w.copyTruncate()
			w.some(10)
			w.rotate()
			w.some(10)
			copyFile(s.t, s.path+".2", s.path+"-backup")
		},
		"a copy of a rotated file is seen half done, and then given its times": func(s *site, w *writer) {
			for n := range 10 {
				w.line(fmt.Sprint(n, strings.Repeat(" long", 1000)))
			}
			w.rotate()
			s.look()
			rotated := look(s.t, s.path+".1")
			whole := content(s.t, rotated.Path)
			afterATick(s.t, rotated.Path)
			copied := newWriter(s.t, s.path+"-copy")
			copied.write(string(whole[:24_500]))
			s.look()
			copied.write(string(whole[24_500:]))
			copied.close()
			then := time.Unix(0, rotated.Modified)
			require.NoError(s.t, os.Chtimes(copied.path, then, then))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			scene(s, w)
			s.look()
			w.some(10)
			s.look()
			s.want(w.lines)
			s.lookUntil("at rest", func() bool { return s.tailer.Status().Followed == 1 })
			require.Zero(t, s.tailer.Status().Gaps)
			require.Zero(t, s.tailer.Status().Lag)
		})
	}
}

func TestReplacedByACopyBetweenAnyTwoSystemCalls(t *testing.T) {
	for name, down := range map[string]bool{"while it runs": false, "at a start": true} {
		t.Run(name, func(t *testing.T) {
			betweenAnyTwoCalls(t, scene{printed: 20, prepare: func(s *site, w *writer) {
				if down {
					s.kill()
				}
				w.some(5)
				w.close()
				afterATick(t, s.path) // or it may have been begun before the last line
			}}, func(s *site, w *writer) {
				copyFile(t, s.path, s.dir+"/.tmp")
				require.NoError(t, os.Rename(s.dir+"/.tmp", s.path))
				w.open()
			}, printedOnce)
		})
	}
}

// The copy is printed as far as it goes, and the log goes on behind that.
func TestCopyWhereNoCreationTimeIsKnown(t *testing.T) {
	s, w := newLog(t, 20)
	s.kill()
	w.some(20)
	copyFile(t, s.path, s.path+".1")
	w.some(20)
	s.hook = func() {
		for _, f := range s.tailer.files {
			f.Born = 0
		}
	}
	s.prints(w)
}

func content(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// As a backup restores them: each was made after the one before, and its times are older
// than it is, so that by its times it may be a copy of any other.
func TestRestoredFilesAreNotReadInPairs(t *testing.T) {
	calls := func(files int) (n int) {
		s := newSite(t)
		s.hook = func() { n++ }
		for i := range files {
			w := newWriter(t, fmt.Sprintf("%s.%03d", s.path, files-i))
			fmt.Fprintf(w.file, "the first line of file %03d\n", i)
			w.some(10)
			require.NoError(t, w.file.Close())
			then := time.Unix(int64(1e9+i), 0)
			require.NoError(t, os.Chtimes(w.file.Name(), then, then))
		}
		s.look()
		require.Len(t, s.sink.printed(), 11*files)
		return n
	}
	assert.Less(t, calls(160), 5*calls(40))
}
