package wake

import "time"

// maxPause is the longest pause between two looks while something keeps happening. The cost
// of following a live file is not its lines but the wake-ups: a round of event, read, write
// and sleep takes some 200 microseconds of CPU however little it moves.
const maxPause = 37 * time.Millisecond

// A Pace tells how long to pause between two looks. What comes first after a silence is
// looked at at once; while more keeps coming, the pauses grow.
type Pace struct {
	pause time.Duration
	last  time.Time // of the latest activity
}

// Next returns the pause that follows activity now: none after a silence, and twice the
// pause before, up to maxPause, while activity continues.
func (p *Pace) Next(now time.Time) time.Duration {
	if now.Sub(p.last) > 2*maxPause {
		p.pause = 0
	} else {
		p.pause = min(max(2*p.pause, time.Millisecond), maxPause)
	}
	p.last = now
	return p.pause
}
