package main

import (
	"container/list"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	// maxConnections is sized to the memory limit of the Pod, 128Mi. With nothing but half
	// a header on each the process takes 34 MiB, with 16 KiB of it in 98 fields 90 MiB.
	maxConnections = 1000

	// otherFiles is more than what the process has open besides connections.
	otherFiles = 24

	// grace is how long a connection is safe, so that a request can come, and the
	// goroutine that has read it can say so.
	grace = 100 * time.Millisecond
)

// connections bounds how many there are. One too many does not wait, or clients that
// hold all of them would keep out the probes, and have the app restarted; it takes the
// place of the one that has gone longest without bringing a request, or, where all are busy,
// of the first that is answered.
type connections struct {
	limit   int                        // how many there may be
	mu      sync.Mutex                 // protects following
	waiting list.List                  // of waiting: those without a request in flight, longest first
	all     map[net.Conn]*list.Element // its element of waiting, or nil
	handled int                        // how many have their request in the handler

	freed chan struct{} // holds a token when one was closed since it was last looked at
}

func newConnections() *connections {
	limit := maxConnections
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		// At the very limit nothing could be accepted, and the log not be rotated.
		limit = int(min(maxConnections, max(files.Cur, 2*otherFiles)-otherFiles))
	}
	return &connections{limit: limit, all: make(map[net.Conn]*list.Element), freed: make(chan struct{}, 1)}
}

// maxHeld is how many requests that are answered may wait for their client: to send the
// rest of a body, or to read. More are refused, so that there is always room for new
// connections, such as those of probes.
func (c *connections) maxHeld() int { return c.limit * 3 / 4 }

// maxAnswering is how many requests are answered at a time. Until they are, nothing tells
// how many of them will then be held, so it must not be more than maxHeld leaves; one line
// after the other goes into the log anyway.
func (c *connections) maxAnswering() int { return c.limit / 10 }

type waiting struct {
	conn  net.Conn
	since time.Time
}

// track is the server's ConnState. The server accepts nothing while it runs for a new
// connection.
func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(conn)
	switch state {
	case http.StateNew, http.StateIdle: // and for as long as a request's header is not all there
		c.all[conn] = c.waiting.PushBack(waiting{conn, time.Now()})
	case http.StateActive:
		c.all[conn] = nil
	case http.StateClosed:
		select {
		case c.freed <- struct{}{}:
		default:
		}
	}
	for state == http.StateNew && len(c.all) > c.limit && !c.closeOne() {
		c.mu.Unlock()
		select {
		case <-c.freed:
		case <-time.After(time.Millisecond): // one may be idle for long enough by now
		}
		c.mu.Lock()
	}
}

func (c *connections) forget(conn net.Conn) {
	if place := c.all[conn]; place != nil {
		c.waiting.Remove(place)
	}
	delete(c.all, conn)
}

// closeOne closes the connection that waits longest. If that has sent something which
// the server did not come to read yet, it may well be a whole request, as in a burst of
// new clients: then the answer is false, and the next try finds it read.
func (c *connections) closeOne() bool {
	longest := c.waiting.Front()
	if longest == nil {
		return false
	}
	w := longest.Value.(waiting)
	if time.Since(w.since) < grace || hasUnread(w.conn) {
		return false
	}
	c.forget(w.conn)
	_ = w.conn.Close()
	return true
}

func (c *connections) inFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all) - c.waiting.Len()
}

// enter and leave are called where a request comes into the handler, and goes.
func (c *connections) enter() { c.handle(1) }
func (c *connections) leave() { c.handle(-1) }

func (c *connections) handle(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handled += n
}

// held is the number of requests that are answered, and wait for their client.
func (c *connections) held() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all) - c.waiting.Len() - c.handled
}

// full reports whether a new connection waits for the place of another.
func (c *connections) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all) > c.limit
}

func hasUnread(conn net.Conn) bool {
	var n int
	if raw, err := conn.(syscall.Conn).SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			n, _, _ = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		})
	}
	return n > 0
}
