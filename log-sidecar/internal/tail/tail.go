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
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sidecar.example/log-sidecar/internal/lines"
	"sidecar.example/log-sidecar/internal/logfiles"
	"sidecar.example/log-sidecar/internal/position"
	"sidecar.example/log-sidecar/internal/wake"
)

// Config configures a Tailer. StateDir may be empty and Ended nil; the rest is required.
type Config struct {
	Path         string        // the file to follow; it need not exist, nor its directory
	StateDir     string        // directory of the positions; empty keeps none
	MaxLineBytes int           // longer lines go to the sink in pieces
	PollInterval time.Duration // how often to look while file events are unavailable
	Sink         lines.Sink
	Log          *slog.Logger

	// Ended is asked during the drain whether the program that writes the log has ended,
	// and whether that is known. It may take a while; nil means that it is never known.
	Ended func() (ended, known bool)
}

const (
	// restTicks is how many poll intervals pass between two looks while file events
	// are available. These looks catch changes whose events were lost.
	restTicks = 5

	// quietFor is how long a rotated file must have been quiet before it is put to rest, if
	// the kernel does not say whether anybody can still write to it.
	quietFor = 5 * time.Second

	// maxShred is how long the shredding of a file is waited for. What it was overwritten
	// with is no line if the file is deleted then.
	maxShred = 30 * time.Second

	// readings is how often the directory is read until two readings agree.
	readings = 3

	// maxMoving is how long a rotation may go on before its files are followed as they are
	// found.
	maxMoving = time.Second

	// atOnce is how often to look again at once where something has changed meanwhile.
	atOnce = 20

	// movingPause gives a rotation in progress time to finish.
	movingPause = 5 * time.Millisecond
)

var (
	// errAgain: something has changed meanwhile, list the files and look again.
	errAgain = errors.New("look again")
	// errMoving: files are being renamed, look again soon.
	errMoving = errors.New("files are being renamed")
	// errAborted is returned for a drain that was cut short.
	errAborted = errors.New("drain was cut short")
)

// A Tailer follows one log.
type Tailer struct {
	cfg       Config
	reader    *lines.Reader
	snapshot  atomic.Pointer[Status]
	measuring sync.Mutex                 // held while the lag is measured
	waker     atomic.Pointer[wake.Waker] // nil before Run

	// owned by the goroutine in Run
	registry
	status Status
	said   []string      // the troubles that were logged last
	stale  bool          // the directory may have changed since it was listed
	moving time.Time     // since when files have been renamed without a pause; zero: they are not
	asking time.Time     // since when the live file may have to wait for a copy of it; zero: it does not
	retry  time.Duration // look again after this even without an event; 0: no hurry
	abort  context.Context
	quiet  time.Duration // drainQuiet; tests have less time
}

// New returns a Tailer that continues from the positions in cfg.StateDir. It fails only
// if StateDir cannot be used.
func New(cfg Config) (*Tailer, error) {
	store, loaded, err := position.Open(cfg.StateDir, cfg.Path)
	if err != nil {
		return nil, err
	}
	if loaded.SetAside != "" {
		cfg.Log.Warn("the state is of another version, or damaged: lines may be printed again", "kept", loaded.SetAside)
	}
	if loaded.Damaged > 0 {
		cfg.Log.Warn("positions are damaged: lines of their files may be printed again", "positions", loaded.Damaged)
	}
	if loaded.OtherLog && len(loaded.Positions) > 0 {
		cfg.Log.Warn("the state is of another log: only files that were printed already go on where they were", "path", cfg.Path)
	}
	log := logfiles.New(cfg.Path)
	t := &Tailer{
		cfg:      cfg,
		reader:   lines.NewReader(cfg.Sink, cfg.MaxLineBytes, log.Step),
		registry: registry{log: log, store: store, messages: cfg.Log},
		stale:    true,
		abort:    context.Background(),
		quiet:    drainQuiet,
	}
	t.remember(loaded.Positions, !loaded.OtherLog)
	t.status.LastLook = time.Now()
	t.status.atRest = make(map[logfiles.ID]int64, len(t.gone))
	for i := range t.gone {
		t.status.atRest[t.gone[i].at.ID] = t.gone[i].at.Offset
	}
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
	var pace wake.Pace
	for woken := false; ctx.Err() == nil; {
		began := time.Now()
		n, err := t.look()
		if err != nil {
			return err
		}
		if n > 0 || woken {
			if pause := pace.Next(time.Now()); pause > 0 {
				// Where files are renamed all the time, listing them must not take all of
				// the CPU.
				waker.Pause(max(pause, min(2*time.Since(began), t.cfg.PollInterval)))
				woken = false
				continue
			}
		}
		woken = waker.Wait(ctx, t.nextLook())
		t.stale = t.stale || !woken
	}
	return t.drain()
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
	before := t.reader.Printed.Bytes
	var err error
	for range atOnce {
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
	return t.reader.Printed.Bytes - before, err
}

// lookOnce returns errAgain if the files have changed meanwhile.
func (t *Tailer) lookOnce() error {
	live, err := t.log.Live()
	if was := t.live(); t.stale || err != nil || was == nil || was.ID != live.ID {
		if err := t.list(); err != nil {
			return err
		}
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
	t.settle()
	return nil
}

// list finds out which files there are.
func (t *Tailer) list() error {
	t.stale = false
	if waker := t.waker.Load(); waker != nil {
		if err := t.log.Watchable(); err != nil {
			waker.Poll(err)
		} else {
			waker.Watch(t.log.Dirs())
		}
	}
	listing := t.log.List(readings)
	if t.mustWait(&listing) {
		return errMoving
	}
	if listing.Stable {
		t.moving = time.Time{}
	}
	t.update(&listing)
	t.publish()
	return nil
}

// mustWait reports whether to wait until the rotation that goes on has ended: in the middle
// of it a file can be overlooked. Somebody who renames all the time is not waited for.
func (t *Tailer) mustWait(listing *logfiles.Listing) bool {
	if !listing.Stable && t.moving.IsZero() {
		t.moving = time.Now()
	}
	return !listing.Stable && time.Since(t.moving) < maxMoving
}

// measure sets how far f is to be read in this look; less than 0 is not at all.
func (t *Tailer) measure(f *file) error {
	f.limit = -1
	if f.rest {
		return nil
	}
	now, err := t.log.Again(&f.File, f.open)
	if errors.Is(err, logfiles.ErrMoved) && t.complete { // else listing the files tells nothing new
		return errAgain
	}
	if err != nil {
		return t.fail(f, err)
	}
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
	if shredded, err := f.isShredded(); err != nil {
		return t.fail(f, err)
	} else if shredded {
		if f.listed && t.isWritten(f) && time.Since(f.held) < maxShred {
			return nil
		}
		f.ignored = !f.listed
	}
	err := t.catchUp(f)
	if err == nil && f.twin == nil && !f.Live && f.listed {
		err = t.letGo(f)
	}
	return t.check(f, err)
}

// catchUp prints what is in f up to its limit, unless it is left to another file.
func (t *Tailer) catchUp(f *file) error {
	if err := t.adopt(f); err != nil || f.twin != nil || f.ignored {
		return err
	}
	return t.read(f)
}

// read prints the complete lines of f up to its limit, and saves its position after each
// batch.
func (t *Tailer) read(f *file) error {
	for more := true; more; {
		data, err := t.reader.Fill(f.open, &f.at, f.limit)
		if err != nil {
			return err
		}
		f.end = max(f.end, f.limit)
		if f.at.Next() == 0 && len(data) > 0 {
			if f.ignored = logfiles.IsCompressed(data); f.ignored {
				return nil
			}
			if err := t.mayBegin(f); err != nil {
				return err
			}
		}
		n := 0
		if n, more, err = t.reader.Print(); err != nil {
			return err
		}
		if n > 0 {
			t.status.LastLook = time.Now()
			t.printed(f)
		}
		t.publish()
		if more && t.aborted() {
			return errAborted
		}
	}
	return nil
}

// printed saves that f has been printed up to its position.
func (t *Tailer) printed(f *file) {
	f.at.ID, f.at.Done = f.ID, false
	t.save(&f.at.Position)
}

// mayBegin returns an error if a file may have to be read before f, of which nothing has
// been printed, if f is the live one. If that was truncated meanwhile, nothing in it tells;
// but then a copy of it was made, or completed, since the files were listed. What goes on
// growing is none.
func (t *Tailer) mayBegin(f *file) error {
	if !f.Live {
		return nil
	}
	listing := t.log.List(readings)
	if t.mustWait(&listing) {
		return errMoving
	}
	for _, found := range listing.Files {
		at := slices.IndexFunc(t.files, func(f *file) bool { return f.ID == found.ID && f.Born == found.Born })
		if at < 0 {
			return errAgain
		}
		if found.Born > f.Born && found.Size > max(t.files[at].Size, t.files[at].limit) {
			if t.asking.IsZero() {
				t.asking = time.Now()
			}
			if time.Since(t.asking) < maxMoving {
				return errAgain
			}
		}
	}
	t.asking = time.Time{}
	return nil
}

// check handles an error in reading f, and returns what the whole look has to know.
func (t *Tailer) check(f *file, err error) error {
	if errors.Is(err, lines.ErrTruncated) {
		t.lose(f)
		return errAgain
	}
	return t.fail(f, err)
}

// fail remembers that f cannot be read: that is no reason not to read the others. Errors
// that do not concern f alone are returned.
func (t *Tailer) fail(f *file, err error) error {
	for _, other := range []error{nil, errAgain, errMoving, errAborted, lines.ErrSink} {
		if errors.Is(err, other) {
			return err
		}
	}
	f.trouble = err
	f.close()
	return nil
}

// letGo puts a rotated file to rest, but only when nobody can write to it any more, and
// it has been read once more since that became certain.
func (t *Tailer) letGo(f *file) error {
	if t.isWritten(f) {
		return nil
	}
	if err := t.measure(f); err != nil || f.open == nil {
		return err
	}
	if err := t.catchUp(f); err != nil || f.twin != nil {
		return err
	}
	if !f.ignored {
		if err := t.finish(f); err != nil {
			return err
		}
	}
	f.close()
	f.rest = true
	if f.at.Offset > 0 && !f.at.Done {
		t.status.Rotations++
	}
	f.at.Done = f.listed // else a copy may have replaced it
	t.save(&f.at.Position)
	if !f.listed {
		t.forget(f)
	}
	return nil
}

// isWritten reports whether anybody may still write to f, a rotated file.
func (t *Tailer) isWritten(f *file) bool {
	t.log.Step()
	now := time.Now()
	if written, known := logfiles.Writers(f.open); known && !written || !known && now.Sub(f.changed) >= quietFor {
		return false
	}
	if f.held.IsZero() {
		f.held = now
	}
	// Its close causes no event: it is asked often at first, then less and less.
	t.comeBack(min(max(now.Sub(f.held)/2, 2*movingPause), t.cfg.PollInterval))
	return true
}

// finish prints what follows the last \n of f, to which nobody can write any more, unless
// f is a copy of a file in which that line may yet be finished.
func (t *Tailer) finish(f *file) error {
	if f.at.Next() >= f.limit {
		return nil
	}
	if err := t.leaveRest(f); err != nil || f.twin != nil {
		return err
	}
	before := f.at.Offset
	if err := t.printRest(f, &f.at); err != nil || f.at.Offset == before {
		return err
	}
	t.printed(f)
	return nil
}

// printRest prints what follows the last \n of f up to its limit.
func (t *Tailer) printRest(f *file, at *lines.Place) error {
	err := t.reader.PrintRest(f.open, at, f.limit)
	if errors.Is(err, lines.ErrEnded) {
		return errAgain // it was finished at the last moment
	}
	return err
}

// comeBack makes sure that the next look is in d at the latest.
func (t *Tailer) comeBack(d time.Duration) {
	if t.retry == 0 || d < t.retry {
		t.retry = d
	}
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
