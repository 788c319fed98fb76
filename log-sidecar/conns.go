package main

import (
	"net"
	"net/http"
	"slices"
	"sync"
)

// maxConns bounds what clients can make the server hold: with the largest headers that it
// takes, each connection is some 30 KiB of memory.
const maxConns = 128

// A connLimit closes the connection that has waited longest for a request when there are
// more than most. To let new ones wait instead would be to let who holds them all keep the
// probes out. A connection with a request in flight is never closed.
type connLimit struct {
	most int

	mu      sync.Mutex // protects following
	waiting []net.Conn // for a whole request; who has waited longest first
	active  map[net.Conn]bool
}

// track is for http.Server.ConnState. A connection is active from its request's last
// header to the end of the answer.
func (l *connLimit) track(conn net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.active, conn)
	l.waiting = slices.DeleteFunc(l.waiting, func(c net.Conn) bool { return c == conn })
	switch state {
	case http.StateActive:
		l.active[conn] = true
	case http.StateNew, http.StateIdle:
		l.waiting = append(l.waiting, conn)
	}
	if len(l.waiting) > 0 && len(l.waiting)+len(l.active) > l.most {
		_ = l.waiting[0].Close() // the server sees it as gone
		l.waiting = slices.Delete(l.waiting, 0, 1)
	}
}
