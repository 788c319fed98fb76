// Package tail follows a log without losing a line, and without repeating any except the
// last batch after a kill: through rotation by rename, copytruncate, deletion, restarts, a
// sink that blocks and processes that keep writing to old files. It does not know what the
// lines mean or where they go.
//
// For each file of the log it remembers how far that has been printed. A look prints what
// has come since, in every file, the oldest first. So a rotation is nothing special: it
// gives a file another name.
//
// One goroutine owns all of the state. It never relies on what an event says, only on
// what the file system says; an event affects only when it looks.
package tail

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
	"sidecar.example/log-sidecar/internal/wake"
)

// A Sink receives lines, in order, from one goroutine. The slices are valid only until
// the call returns. A Sink may block; the file is the buffer then.
type Sink interface {
	// Line receives a line, never empty, without its newline.
	Line(line []byte)
	// Piece receives a part of a line that is longer than MaxLineBytes.
	Piece(piece []byte, last bool)
	// Flush returns once everything received is printed. What is received between two
	// calls is one batch: after a kill, at most one batch is printed again.
	Flush() error
}

// Config configures a Tailer. StateDir may be empty and Ended nil; the rest is required.
type Config struct {
	Path         string        // the file to follow; it need not exist, nor its directory
	StateDir     string        // directory of the positions; empty keeps none
	MaxLineBytes int           // longer lines go to the sink in pieces
	PollInterval time.Duration // how often to look while file events are unavailable
	Sink         Sink
	Log          *slog.Logger

	// Ended is asked during the drain whether the program that writes the log has ended,
	// and whether that is known. It may take a while; nil means that it is never known.
	Ended func() (ended, known bool)
}

const (
	// restTicks is how many poll intervals pass between two looks while file events
	// are available. These looks catch changes whose events were lost.
	restTicks = 5

	// maxPause is the longest pause between two looks while lines keep coming. The cost
	// of following a live file is not its lines but the wake-ups: a round of event, read,
	// write and sleep takes some 200 microseconds of CPU however little it moves. So the
	// first line after a silence is printed at once, and while more keep coming the
	// pauses between rounds grow, up to this one.
	maxPause = 37 * time.Millisecond

	// quietFor is how long a rotated file must have been quiet before it is put to rest, if
	// the kernel does not say whether anybody can still write to it.
	quietFor = 5 * time.Second

	// readings is how often the directory is read until two readings agree.
	readings = 3

	// maxMoving is how long a rotation may go on before its files are followed as they are
	// found.
	maxMoving = time.Second

	// movingPause gives a rotation in progress time to finish.
	movingPause = 5 * time.Millisecond

	// maxGone is how many positions are kept of files that are gone. They may come back: a
	// symbolic link is switched back, a volume is mounted again, a backup is restored.
	maxGone = 256
)

// A Tailer follows one log.
type Tailer struct {
	cfg       Config
	log       *logfiles.Log
	store     *position.Store
	snapshot  atomic.Pointer[Status]
	measuring sync.Mutex                 // held while the lag is measured
	waker     atomic.Pointer[wake.Waker] // nil before Run

	// owned by the goroutine in Run
	files    []*file       // of the log, oldest first; the live one, if there is one, is last
	gone     []goneFile    // files of which only the position is left, oldest first
	order    int64         // of the newest file
	stale    bool          // the directory may have changed since it was listed
	listed   bool          // this look has listed it
	complete bool          // all of it was listed, at least once
	moving   time.Time     // since when files have been renamed without a pause; zero: they are not
	retry    time.Duration // look again after this even without an event; 0: no hurry
	abort    context.Context
	draining bool
	quiet    time.Duration // drainQuiet; tests have less time

	status   Status   // published as a copy
	troubles []string // of the directory, when it was last listed
	said     []string // the troubles that were logged last
	unsaved  bool     // the last save failed
	lines    int64    // handed to the sink since the last Flush

	buf    []byte // the bytes before a start, and those after it
	before int    // how many of those before
	size   int    // of a batch
}

// New returns a Tailer that continues from the positions in cfg.StateDir. It fails only
// if StateDir cannot be used.
func New(cfg Config) (*Tailer, error) {
	store, loaded, err := position.Open(cfg.StateDir, cfg.Path)
	if err != nil {
		return nil, err
	}
	t := &Tailer{cfg: cfg, log: logfiles.New(cfg.Path), store: store, stale: true, abort: context.Background(), size: readSize, quiet: drainQuiet}
	if loaded.SetAside != "" {
		cfg.Log.Warn("the state is of another version, or damaged: lines may be printed again", "kept", loaded.SetAside)
	}
	if loaded.Damaged > 0 {
		cfg.Log.Warn("positions are damaged: lines of their files may be printed again", "positions", loaded.Damaged)
	}
	if loaded.OtherLog && len(loaded.Positions) > 0 {
		cfg.Log.Warn("the state is of another log: only files that were printed already go on where they were", "path", cfg.Path)
	}
	t.status.atRest = map[logfiles.ID]int64{}
	slices.SortFunc(loaded.Positions, func(a, b position.Position) int { return cmp.Compare(a.Order, b.Order) })
	for _, at := range loaded.Positions {
		t.order = max(t.order, at.Order)
		t.gone = append(t.gone, goneFile{at: at, expected: !loaded.OtherLog && !at.Done})
		t.status.atRest[at.ID] = at.Offset
	}
	t.status.LastLook = time.Now()
	t.publish()
	return t, nil
}

// Run follows the log until ctx is done, then drains it: it returns nil once everything
// is printed and nobody can write any more, and an error if abort is done before that, or
// if the sink fails.
func (t *Tailer) Run(ctx, abort context.Context) error {
	waker, err := wake.New(t.cfg.Log, t.matters)
	if err != nil {
		return err
	}
	t.waker.Store(waker)
	defer t.close()
	t.abort = abort
	var (
		rest time.Duration // pause before the next look while there is activity
		last time.Time     // of the latest activity: an event, or something printed
	)
	for woken := false; ctx.Err() == nil; {
		began := time.Now()
		n, err := t.look()
		if err != nil {
			return err
		}
		if n > 0 || woken {
			rest, last = nextRest(rest, last)
			if rest > 0 {
				// Where files are renamed all the time, listing them must not take all of
				// the CPU.
				waker.Pause(max(rest, min(2*time.Since(began), t.cfg.PollInterval)))
				woken = false
				continue
			}
		}
		woken = waker.Wait(ctx, t.nextLook())
		t.stale = t.stale || !woken
	}
	return t.drain()
}

// nextRest returns the pause that follows this activity, and its time: no pause after a
// silence, and twice the pause before, up to maxPause, while activity continues.
func nextRest(rest time.Duration, last time.Time) (time.Duration, time.Time) {
	now := time.Now()
	if now.Sub(last) > 2*maxPause {
		return 0, now
	}
	return min(max(2*rest, time.Millisecond), maxPause), now
}

// nextLook returns how long to wait for an event.
func (t *Tailer) nextLook() time.Duration {
	d := t.LongestWait()
	if t.waker.Load().Polling() || t.live() == nil {
		d = t.cfg.PollInterval
	}
	if t.retry > 0 {
		d = min(d, t.retry)
	}
	return d
}

// matters reports whether a file with this path concerns the log. Only a write to a file
// that is read anyway does not make it necessary to list them again.
func (t *Tailer) matters(path string, written bool) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if name != "" && !t.log.Has(name) {
		return false
	}
	open := func(f *file) bool { return f.open != nil && f.Name == name }
	if !written || !slices.ContainsFunc(t.files, open) {
		t.stale = true
	}
	return true
}

// look prints everything there is to print, and returns how many bytes of the log that
// were.
func (t *Tailer) look() (int64, error) {
	t.retry = 0
	before := t.status.Bytes
	var err error
	for range 20 {
		if err = t.lookOnce(); !errors.Is(err, errAgain) {
			break
		}
		t.stale = true
	}
	if errors.Is(err, errMoving) || errors.Is(err, errAgain) {
		t.stale, t.retry, err = true, movingPause, nil
	} else {
		t.status.LastLook = time.Now()
	}
	t.report()
	return t.status.Bytes - before, err
}

// lookOnce returns errAgain if the files have changed meanwhile.
func (t *Tailer) lookOnce() error {
	t.listed = false
	live, err := t.log.Live()
	if was := t.live(); t.stale || err != nil || was == nil || was.ID != live.ID {
		if err := t.list(); err != nil {
			return err
		}
	} else {
		was.see(&live)
	}
	// How far to read is asked of the newest file first, and then printed up to there from
	// the oldest on. So what a process wrote to an older file before its first line in a
	// newer one comes before that line, even while the older one grows.
	for _, f := range slices.Backward(t.files) {
		if err := t.measure(f); err != nil {
			return err
		}
	}
	for _, f := range t.files {
		if err := t.inherit(f); err != nil {
			return err
		}
	}
	for _, f := range t.files {
		if f.limit < 0 {
			continue
		}
		if err := t.follow(f); err != nil {
			return err
		}
		for _, twin := range t.files {
			if twin.twin == f && twin.open != nil { // it has waited for f
				if err := t.follow(twin); err != nil {
					return err
				}
			}
		}
		if t.aborted() {
			return errAborted
		}
	}
	for i := len(t.files) - 1; i >= 0; i-- { // letGo may remove it
		// Not before the live one was read, which may have replaced it.
		if f := t.files[i]; !f.listed && f.open != nil {
			if err := t.check(f, t.letGo(f)); err != nil {
				return err
			}
		}
	}
	if t.listed {
		t.settle()
	}
	return nil
}

// live returns the live file, or nil.
func (t *Tailer) live() *file {
	if len(t.files) > 0 && t.files[len(t.files)-1].Live {
		return t.files[len(t.files)-1]
	}
	return nil
}

// measure sets how far f is to be read in this look; less than 0 is not at all.
func (t *Tailer) measure(f *file) error {
	f.limit = -1
	switch {
	case f.Live && f.open != nil: // lookOnce has just seen it
		f.limit = f.Size
	case f.open != nil:
		if err := t.measureOpen(f); err != nil {
			return t.fail(f, err)
		}
	case f.trouble != nil && !t.listed: // it is tried again when they are listed
	case f.rest == nil || !f.rest.Same(&f.File):
		size, err := t.log.Size(&f.File)
		if errors.Is(err, logfiles.ErrMoved) {
			return errAgain
		}
		if err != nil {
			return t.fail(f, err)
		}
		f.limit = size
	}
	return nil
}

// measureOpen sets that f, which is open and not the live file, is to be read to its
// present end.
func (t *Tailer) measureOpen(f *file) error {
	t.log.Step()
	now, err := logfiles.Stat(f.open)
	if err != nil {
		return err
	}
	now.Path, now.Name = f.Path, f.Name // an open file has none
	f.see(&now)
	f.limit = f.Size
	return nil
}

// follow prints what has come in f since the last look, and puts it to rest if nothing
// more can come.
func (t *Tailer) follow(f *file) error {
	if f.open == nil {
		opened, err := t.log.Open(&f.File)
		if errors.Is(err, logfiles.ErrMoved) {
			return errAgain
		}
		if err != nil {
			return t.fail(f, err)
		}
		f.open, f.trouble, f.ignored = opened, nil, false
		t.publish() // its bytes count as lag from now on, deleted or not
	}
	err := t.catchUp(f)
	if err == nil && f.twin == nil && !f.Live && f.listed {
		err = t.letGo(f)
	}
	return t.check(f, err)
}

// catchUp prints what is in f up to its limit, unless it is left to another file.
func (t *Tailer) catchUp(f *file) error {
	f.twin = nil
	if err := t.adopt(f); err != nil {
		return err
	}
	if !f.Live {
		if waits, err := t.waits(f); err != nil || waits {
			return err
		}
	}
	if f.ignored {
		return nil
	}
	return t.read(f)
}

// check handles an error in reading f, and returns what the whole look has to know.
func (t *Tailer) check(f *file, err error) error {
	if errors.Is(err, errTruncated) {
		t.lose(f)
		return errAgain
	}
	return t.fail(f, err)
}

// fail remembers that f cannot be read: that is no reason not to read the others. Errors
// that do not concern f alone are returned.
func (t *Tailer) fail(f *file, err error) error {
	if err == nil || errors.Is(err, errAgain) || errors.Is(err, errMoving) || errors.Is(err, errAborted) || errors.Is(err, errSink) {
		return err
	}
	f.trouble = err
	f.close()
	return nil
}

// letGo puts a rotated file to rest, but only when nobody can write to it any more, and
// it has been read once more since that became certain.
func (t *Tailer) letGo(f *file) error {
	if !f.listed && t.live() == nil {
		return nil // it was deleted or moved away, and may be all that there is
	}
	now := time.Now()
	if wait := t.patience(f, now); !f.held.IsZero() && now.Sub(f.asked) < wait {
		t.comeBack(wait)
		return nil
	}
	t.log.Step()
	written, known := logfiles.Writers(f.open)
	if known && written || !known && now.Sub(f.changed) < quietFor {
		f.asked = now
		if f.held.IsZero() {
			f.held = now
		}
		t.comeBack(t.patience(f, now))
		return nil
	}
	if err := t.measureOpen(f); err != nil {
		return err
	}
	end := f.File
	if err := t.catchUp(f); err != nil || f.twin != nil {
		return err
	}
	if !f.ignored {
		if err := t.finish(f); err != nil {
			return err
		}
	}
	f.close()
	f.rest = &end
	if !f.at.Done {
		t.status.Rotations++
	}
	f.at.Done = f.listed // else a copy may have replaced it
	t.save(&f.at)
	if !f.listed {
		t.forget(f)
	}
	return nil
}

// patience is how long to wait before it is asked again whether f has a writer, whose
// close causes no event: it is asked often at first, then less and less.
func (t *Tailer) patience(f *file, now time.Time) time.Duration {
	if t.draining {
		return 0
	}
	return min(max(now.Sub(f.held)/2, 2*movingPause), t.cfg.PollInterval)
}

// finish prints what follows the last \n of f, to which nobody can write any more, unless
// f is a copy of a file in which that line may yet be finished.
func (t *Tailer) finish(f *file) error {
	if f.start() >= f.limit {
		return nil
	}
	if err := t.leaveToTwin(f); err != nil || f.twin != nil {
		return err
	}
	n, err := t.printUnterminated(f)
	if err != nil || n == 0 {
		return err
	}
	f.at.ID, f.at.Split = f.ID, false
	f.at.Advance(f.nuls, t.buf[:t.before+n], n)
	f.nuls = 0
	t.status.Bytes += int64(n)
	return nil
}

// comeBack makes sure that the next look is in d at the latest.
func (t *Tailer) comeBack(d time.Duration) {
	if t.retry == 0 || d < t.retry {
		t.retry = d
	}
}

// save saves a position. A failure only means that lines are printed again after a
// restart, so it is logged, once, and reading continues.
func (t *Tailer) save(at *position.Position) {
	t.log.Step()
	err := t.store.Save(at)
	if err != nil && !t.unsaved {
		t.cfg.Log.Error("a position cannot be saved: lines will be printed again after a restart", "error", err.Error())
	}
	t.unsaved = err != nil
}

func (t *Tailer) aborted() bool { return t.abort.Err() != nil }

func (t *Tailer) close() {
	for _, f := range t.files {
		f.close()
	}
	if waker := t.waker.Load(); waker != nil {
		waker.Close()
	}
	_ = t.store.Close() // every position has been saved
}
