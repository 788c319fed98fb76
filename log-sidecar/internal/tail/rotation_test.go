package tail

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestARenamedFileIsFinishedBeforeTheNextOne(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(10)
	s.run()
	s.wantSoon(w.lines)
	w.some(10)
	w.rotate()
	w.some(10)
	s.wantSoon(w.lines)
	s.eventually("the rotation is counted", func() bool { return s.tailer.Status().Rotations == 1 })
}

func TestManyRenamesBackToBack(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	s.run()
	for i := range 100 {
		w.some(50)
		require.NoError(t, os.Rename(s.path, s.path+"-"+string(rune('a'+i/10))+string(rune('0'+i%10))))
		w.open()
	}
	w.some(50)
	s.wantSoon(w.lines)
}

func TestManyRenamesBetweenTwoLooks(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(50)
	s.look()
	for range 30 {
		w.some(50)
		w.rotate()
	}
	s.look()
	s.want(w.lines)
}

// Closing the old file after a time, or on the rename, loses what is written to it
// after that.
func TestHeldFileIsFollowedBesideTheLiveOne(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(5)
	s.look()
	shift(t, s.path)
	require.NoError(t, os.Rename(s.path, s.path+".1"))
	next := newWriter(t, s.path)
	next.n = 1000
	var want []string
	want = append(want, w.lines...)
	for range 20 {
		w.some(5)
		next.some(5)
		s.look()
		want = append(append(want, w.lines[len(w.lines)-5:]...), next.lines[len(next.lines)-5:]...)
		s.want(want)
		status := s.tailer.Status()
		require.Equal(t, []string{"access.log.1"}, status.Held)
		require.Equal(t, 2, status.Followed)
		require.Empty(t, status.Troubles)
	}
	w.some(1)
	w.close()
	s.lookUntil("it is at rest", func() bool { return len(s.tailer.Status().Held) == 0 })
	s.want(append(want, w.lines[len(w.lines)-1]))
}

func TestHeldFileIsClosedSoonAfterItsWriter(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(5)
	s.run()
	s.wantSoon(w.lines)
	require.NoError(t, os.Rename(s.path, s.path+".1"))
	next := newWriter(t, s.path)
	next.line("next")
	s.eventually("it is held", func() bool { return len(s.tailer.Status().Held) == 1 })
	w.close()
	s.eventually("it is at rest", func() bool { return s.tailer.Status().Followed == 1 })
	s.wantSoon(append(w.lines, "next"))
}

func TestAWriterThatEndsItsLineInTheRenamedFile(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(2)
	w.piece(`{"half`)
	s.look()
	s.want(w.lines)
	require.NoError(t, os.Rename(s.path, s.path+".1"))
	require.NoError(t, os.WriteFile(s.path, nil, 0o644))
	s.look()
	s.want(w.lines)
	w.line(`":1}`)
	s.look()
	s.want(w.lines)
}

func TestALineThatWasNeverEndedIsPrintedWhenItsFileIsLetGo(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(2)
	w.piece("half")
	w.rotate()
	s.look()
	s.want(append(w.lines, "half"))
}

// The file after it is left again, for another one that comes first.
func TestALineThatWasNeverEndedIsPrintedOnce(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(2)
	w.write("half")
	w.lines = append(w.lines, "half")
	w.rotate()
	s.look()
	w.some(5)
	w.copyTruncate()
	s.look()
	w.some(5)
	s.look()
	s.want(w.lines)
}

func TestAnUnterminatedLineIsHeldBackAndJoined(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	s.run()
	w.some(1)
	s.wantSoon(w.lines)
	for range 3 { // in three pieces, each seen by itself
		for _, piece := range []string{`{"a":`, `"b`, `c"`} {
			looked := s.tailer.Status().LastLook
			w.piece(piece)
			s.eventually("it looks", func() bool { return s.tailer.Status().LastLook.After(looked) })
			require.Len(t, s.sink.printed(), len(w.lines))
		}
		w.line(`}`)
		s.wantSoon(w.lines)
	}
}

func TestDeletedAndCreatedAgain(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	s.run()
	for range 30 {
		w.some(20)
		s.wantSoon(w.lines)
		require.NoError(t, os.Remove(s.path))
		w.some(20) // to the deleted file, which is still open
		w.open()
	}
	w.some(1)
	s.wantSoon(w.lines)
}

// The file is empty when it is opened; then it is written and deleted at once.
func TestWhatIsOpenIsPrintedThoughItWasDeleted(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(3)
	s.look()
	for range 5 {
		w.rotate()
		s.look()
		w.some(3)
		require.NoError(t, os.Remove(s.path))
		w.open()
		s.look()
		s.want(w.lines)
	}
}

func TestALinkSwitchedToAnotherFile(t *testing.T) {
	for name, target := range map[string]func(s *site, n string) string{
		"beside it": func(s *site, n string) string { return s.path + "-" + n },
		"elsewhere": func(s *site, n string) string { return filepath.Join(s.cfg.StateDir, n+".log") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			first := newWriter(t, target(s, "1"))
			require.NoError(t, os.Symlink(first.path, s.path))
			first.some(10)
			s.run()
			s.wantSoon(first.lines)
			first.some(10)
			second := newWriter(t, target(s, "2"))
			second.n = 1000
			link := filepath.Join(s.dir, "link")
			require.NoError(t, os.Symlink(second.path, link))
			require.NoError(t, os.Rename(link, s.path))
			second.some(10)
			s.wantSoon(append(first.lines[:20:20], second.lines...))
			first.some(10) // a process still has it
			second.some(10)
			s.eventually("both go on", func() bool { return len(s.sink.printed()) == 50 })
			require.Subset(t, s.sink.printed(), append(first.lines, second.lines...))
		})
	}
}

func TestADirectoryThatComesLaterGoesAndComesBack(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.Remove(s.dir))
	s.run()
	s.eventually("it is missing and polled for", func() bool {
		status := s.tailer.Status()
		return status.File == missing && status.Polling
	})
	var lines []string
	n := 0
	for range 5 {
		require.NoError(t, os.Mkdir(s.dir, 0o755))
		w := newWriter(t, s.path)
		w.n = n
		w.some(10)
		w.close()
		n, lines = w.n, append(lines, w.lines...)
		s.wantSoon(lines)
		s.eventually("events are had", func() bool { return !s.tailer.Status().Polling })
		require.NoError(t, os.RemoveAll(s.dir))
		s.eventually("it is missing", func() bool { return s.tailer.Status().File == missing })
	}
}

func TestADirectoryThatIsRenamedAndMadeAnew(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(5)
	s.run()
	s.wantSoon(w.lines)
	require.NoError(t, os.Rename(s.dir, s.dir+".old"))
	require.NoError(t, os.Mkdir(s.dir, 0o755))
	w.some(5) // to the old one
	w.open()
	w.some(5)
	s.wantSoon(w.lines)
}

func TestTheFileMayComeLater(t *testing.T) {
	s := newSite(t)
	s.run()
	s.eventually("it is missing", func() bool { return s.tailer.Status().File == missing })
	w := newWriter(t, s.path)
	w.some(5)
	s.wantSoon(w.lines)
}

func TestASinkThatFailsEndsRun(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	s.run()
	s.sink.fail(errBroken)
	w.some(5)
	require.ErrorIs(t, s.ended(), errBroken)

	s.sink.fail(nil)
	s.look()
	s.want(append(w.lines, w.lines...)) // one batch again: its checkpoint was not saved
}

func TestABlockedSinkIsWaitedForAndNothingIsLost(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	s.run()
	unblock := s.sink.block()
	w.some(10)
	s.eventually("it waits", s.sink.blocked)
	for range 10 {
		w.some(2000)
		w.rotate()
	}
	status := s.tailer.Status() // answers all the same
	require.Zero(t, status.Lines)
	require.Greater(t, status.Lag, int64(10*2000*20))
	unblock()
	s.wantSoon(w.lines)
	s.eventually("no lag is left", func() bool { return s.tailer.Status().Lag == 0 })
}

func TestStatusWhileTheFirstBatchIsBlocked(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(10)
	unblock := s.sink.block()
	defer unblock()
	s.run()
	s.eventually("it waits", s.sink.blocked)
	require.Equal(t, atEnd, s.tailer.Status().File)
}

func TestTheLagOfADeletedFileThatIsOpen(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(1)
	s.run()
	s.wantSoon(w.lines)
	unblock := s.sink.block()
	w.some(5000)
	s.eventually("it waits", s.sink.blocked)
	lag := s.tailer.Status().Lag
	require.NoError(t, os.Remove(s.path))
	require.Equal(t, lag, s.tailer.Status().Lag)
	w.open()
	w.line("next")
	require.Equal(t, lag+5, s.tailer.Status().Lag)
	unblock()
	s.wantSoon(w.lines)
}

// What is older than the checkpoint has been printed, though its file is gone.
func TestTheLagAfterTheLiveFileWasDeletedWhileDown(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.some(5)
	w.rotate()
	afterATick(t, s.path+".1")
	w.some(5)
	s.look()
	s.kill()
	require.NoError(t, os.Remove(s.path))
	s.start()
	require.Zero(t, s.tailer.Status().Lag)
	s.look()
	require.Zero(t, s.tailer.Status().Lag)
	w.open()
	w.some(5)
	s.look()
	s.want(w.lines)
	require.Zero(t, s.tailer.Status().Lag)
}

func TestStatusAnswersWhileTheFileSystemDoesNot(t *testing.T) {
	s := newSite(t)
	s.start()
	hang, hangs := make(chan struct{}), make(chan struct{}, 1)
	s.tailer.log.Hook = func() {
		select {
		case hangs <- struct{}{}:
		default:
		}
		<-hang
	}
	for range 3 { // and asks it once
		_ = s.tailer.Status()
	}
	require.Len(t, hangs, 1)
	close(hang)
	s.tailer.measuring.Lock() // it is through
}

// Some rotate by copying and deleting. The copy has no lines of its own.
func TestCopiedAndDeleted(t *testing.T) {
	for name, down := range map[string]bool{"while it runs": false, "while it is down": true} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			w := newWriter(t, s.path)
			w.some(20)
			s.look()
			if down {
				s.kill()
			}
			w.some(5)
			afterATick(t, s.path)
			copyFile(t, s.path, s.path+".1")
			deleteForGood(t, s.path)
			w.open()
			w.some(5)
			s.look()
			s.want(w.lines)
		})
	}
}

// Where a file is gone, another that begins alike is not what is left of it.
func TestAFileThatBeginsLikeADeletedOneIsAnotherFile(t *testing.T) {
	s := newSite(t)
	w := newWriter(t, s.path)
	w.line("starting")
	s.look()
	s.kill()
	afterATick(t, s.path)
	deleteForGood(t, s.path)
	w.open()
	w.line("starting")
	w.some(5)
	w.rotate()
	w.some(5)
	s.look()
	s.want(w.lines)
}

// deleteForGood deletes the file and keeps its inode number from being used again.
func deleteForGood(t *testing.T, path string) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	require.NoError(t, os.Remove(path))
}
