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

// made is a file as it was when it had lost the log's name; 0: it has it.
func made(born, left int64) *file {
	return &file{File: logfiles.File{Live: left == 0, Born: born, Modified: 50}, left: left, listed: true}
}

// but is f with a change.
func but(f *file, change func(*file)) *file {
	change(f)
	return f
}

func TestMadeBeside(t *testing.T) {
	unknown := func(f *file) { f.Born = 0 }
	truncated := func(f *file) { f.Live = true } // and gone, as it was then
	for _, test := range []struct {
		name  string
		f, of *file
		want  bool
	}{
		{"copied, then truncated", made(5, 6), made(1, 0), true},
		{"rotated before the live one was made", made(1, 5), made(5, 0), false},
		{"rotated in the tick in which the live one was made", made(5, 5), made(5, 0), false},
		{"copied before the truncation", made(5, 6), but(made(1, 9), truncated), true},
		{"made after the truncation", made(9, 0), but(made(1, 9), truncated), false},

		{"made, then put in place of the log", made(5, 0), made(1, 6), true},
		{"made long before it was put there", made(2, 0), made(1, 6), true},
		{"made after the log was rotated", made(7, 0), made(1, 6), false},
		{"made in the tick of the rotation", made(6, 0), made(1, 6), false},

		{"both are rotated", made(5, 6), made(1, 7), false},
		{"no creation is known", but(made(0, 6), unknown), made(1, 0), false},
		{"no creation is known of the live one", but(made(0, 0), unknown), made(1, 6), false},
	} {
		assert.Equal(t, test.want, madeBeside(test.f, test.of), test.name)
	}
}

// What lost the log's name is not written to by that, unless by who has it open still.
func TestWhenAFileLeft(t *testing.T) {
	for _, test := range []struct {
		name string
		seen []logfiles.File
		want int64
	}{
		{"it is the log", []logfiles.File{{Live: true, Changed: 5, Modified: 5}}, 0},
		{"renamed", []logfiles.File{{Live: true, Changed: 5, Modified: 5}, {Changed: 7, Modified: 6}}, 7},
		{"renamed, and written to since", []logfiles.File{{Live: true, Changed: 5, Modified: 5}, {Changed: 8, Modified: 8}}, 5},
		{"renamed, and changed later", []logfiles.File{{Live: true, Changed: 5, Modified: 5}, {Changed: 7, Modified: 6}, {Changed: 9, Modified: 6}}, 7},
		{"renamed before it was seen", []logfiles.File{{Changed: 7, Modified: 6, Born: 1}}, 7},
		{"written to when it was first seen", []logfiles.File{{Changed: 7, Modified: 7, Born: 1}}, 1},
		{"the log again", []logfiles.File{{Changed: 7, Modified: 6}, {Live: true, Changed: 8, Modified: 6}}, 0},
	} {
		var f file
		for i := range test.seen {
			f.see(&test.seen[i])
		}
		assert.Equal(t, test.want, f.left, test.name)
	}
}

func TestKinship(t *testing.T) {
	copied := func(f *file) { f.at.Copy = true }
	truncated := func(f *file) { f.truncated = 20 }
	restored := func(f *file) { f.Modified = f.Born - 1 }
	unlisted := func(f *file) { f.listed = false }
	deleted := func(f *file) { f.listed, f.Deleted = false, true }
	long := func(f *file) { f.listed, f.Deleted, f.at.Offset = false, true, maxSame }
	for _, test := range []struct {
		name          string
		f, g          *file
		sure, related bool
	}{
		{"two rotated files", made(1, 10), made(2, 10), false, true},
		{"two copies", but(made(1, 10), copied), but(made(2, 10), copied), true, true},
		{"a copy, and a file that is none", but(made(1, 10), copied), made(2, 10), false, true},
		{"a rotated file younger than the live one", made(3, 10), made(2, 0), true, true},
		{"a rotated file older than the live one", made(1, 10), made(2, 0), false, true},
		{"begun after the rotation", made(20, 0), made(2, 10), false, false},
		{"begun after the rotation, and both are copies", but(made(20, 0), copied), but(made(2, 10), copied), true, true},
		{"truncated, and copied before", but(made(1, 0), truncated), but(made(2, 10), copied), false, false},
		{"truncated, and copied since", but(made(1, 0), truncated), but(made(21, 30), copied), false, true},
		{"truncated, and the other is no copy", but(made(1, 0), truncated), made(2, 10), false, true},
		{"restored after the rotation", but(made(20, 0), restored), made(2, 10), false, true},
		{"begun after the deletion", made(20, 0), but(made(2, 10), deleted), false, false},
		{"restored after the deletion", but(made(20, 0), restored), but(made(2, 10), deleted), false, true},
		{"copied back after the deletion: too much to be the same", made(20, 0), but(made(2, 10), long), false, true},
		{"made after the other was moved away, as editors do", made(20, 0), but(made(2, 10), unlisted), false, true},
		{"there before the rotation", made(5, 0), made(2, 10), false, true},
		{"there before the deletion: it has replaced the log", made(5, 0), but(made(2, 10), deleted), true, true},
	} {
		sure, related := kinship(test.f, test.g)
		assert.Equal(t, test.sure, sure, "%s: sure", test.name)
		assert.Equal(t, test.related, related, "%s: related", test.name)
	}
	f := made(3, 10)
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
