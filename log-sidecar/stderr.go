package main

import (
	"bytes"
	"io"
	"log/slog"
	"sync/atomic"
	"time"
)

// lossyWriter makes stderr a place that costs messages and nothing else. A write to a
// pipe that is full waits for its reader, for good if nobody reads; and whoever writes
// a message may be answering a request, or holds a lock, or is to end the program.
// So Write only queues, and drops the message where the queue is full. The number of
// those dropped goes before the next message that gets through.
type lossyWriter struct {
	queue   chan []byte // nil asks for a flush
	flushed chan struct{}
	dropped atomic.Int64
}

// messagesQueued is more than a start, an outage and a drain have to say together.
const messagesQueued = 64

func newLossyWriter(out io.Writer) *lossyWriter {
	w := &lossyWriter{queue: make(chan []byte, messagesQueued), flushed: make(chan struct{}, 1)}
	go w.run(out)
	return w
}

// Write takes one message. It never waits and never fails.
func (w *lossyWriter) Write(message []byte) (int, error) {
	select {
	case w.queue <- bytes.Clone(message):
	default:
		w.dropped.Add(1)
	}
	return len(message), nil
}

// Flush waits until all messages so far are written, but no longer than timeout. It is
// for the end of the program, and used once.
func (w *lossyWriter) Flush(timeout time.Duration) {
	late := time.After(timeout)
	select {
	case w.queue <- nil:
	case <-late:
		return
	}
	select {
	case <-w.flushed:
	case <-late:
	}
}

func (w *lossyWriter) run(out io.Writer) {
	log := slog.New(slog.NewJSONHandler(out, nil))
	for message := range w.queue {
		if n := w.dropped.Swap(0); n > 0 {
			log.Warn("messages dropped: stderr was not read", "count", n)
		}
		if message == nil {
			w.flushed <- struct{}{}
		} else if _, err := out.Write(message); err != nil {
			w.dropped.Add(1)
		}
	}
}
