package main

import (
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
)

// maxConnections bounds what clients can make the server hold: with the largest headers
// that it takes, each connection is some 30 KiB of memory.
const maxConnections = 128

// connections closes the one that has waited longest for a request when there are more
// than most. To let new ones wait instead would be to let who holds them all keep the
// probes out. A connection with a request in flight is never closed.
type connections struct {
	most int

	mu      sync.Mutex // protects following
	waiting []net.Conn // for a whole request; who has waited longest first
	active  map[net.Conn]bool
}

// track is for http.Server.ConnState. A connection is active from its request's last
// header to the end of the answer.
func (c *connections) track(conn net.Conn, state http.ConnState) {
	if state == http.StateNew {
		// The one that accepts must not outrun those that read: in a flood of new clients
		// half of the probes were closed with their request unread, and none with this.
		runtime.Gosched()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.active, conn)
	c.waiting = slices.DeleteFunc(c.waiting, func(other net.Conn) bool { return other == conn })
	switch state {
	case http.StateActive:
		c.active[conn] = true
	case http.StateNew, http.StateIdle:
		c.waiting = append(c.waiting, conn)
	}
	if len(c.waiting) > 0 && len(c.waiting)+len(c.active) > c.most {
		_ = c.waiting[0].Close() // the server sees it as gone
		c.waiting = slices.Delete(c.waiting, 0, 1)
	}
}
