package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// messagesAtOnce is how often the same message is let through within limitInterval.
	messagesAtOnce = 10
	limitInterval  = time.Minute
)

// A limitedHandler keeps what happens again and again, as in a directory where somebody
// renames files all the time, from filling the log. Messages are the same if their text
// is, whatever their attributes; a message that is let through after others were not says
// how many.
type limitedHandler struct {
	slog.Handler

	mu   sync.Mutex // protects following
	said map[string]*saying
}

// A saying is how often a message has come.
type saying struct {
	since          time.Time
	times, dropped int
}

// Handle implements slog.Handler.
func (h *limitedHandler) Handle(ctx context.Context, record slog.Record) error {
	dropped, ok := h.admit(record.Message, record.Time)
	if !ok {
		return nil
	}
	if dropped > 0 {
		record.AddAttrs(slog.Int("not_shown", dropped))
	}
	return h.Handler.Handle(ctx, record)
}

// admit reports whether a message is let through now, and how many were not since the
// last one that was.
func (h *limitedHandler) admit(message string, now time.Time) (dropped int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.said == nil {
		h.said = map[string]*saying{} // the program has some twenty texts
	}
	s := h.said[message]
	if s == nil {
		s = &saying{since: now}
		h.said[message] = s
	}
	if now.Sub(s.since) >= limitInterval {
		dropped = s.dropped
		*s = saying{since: now}
	}
	if s.times == messagesAtOnce {
		s.dropped++
		return 0, false
	}
	s.times++
	return dropped, true
}
