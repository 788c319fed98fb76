package main

import (
	"net"
	"net/http"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// maxConnections bounds what clients can make the server hold: with the largest headers
	// that it takes, each connection is some 30 KiB of memory.
	maxConnections = 128

	// overstayed is how long after it came a connection is no longer safe while it is
	// answered. An answer takes half a second, for which the app is asked: who is not done
	// by now sends one request after another, and may not read the answers.
	overstayed = time.Second
)

// connections closes the one that came first when there are more than most, but none that
// is being answered and has not overstayed. To let new ones wait instead would be to let
// who holds them all keep the probes out.
type connections struct {
	most int

	mu  sync.Mutex // protects following
	all map[net.Conn]visit
}

type visit struct {
	since  time.Time
	active bool // from its request's last header to the end of the answer
}

func newConnections() *connections {
	most := maxConnections
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		most = int(min(maxConnections, files.Cur/2)) // the other half is for the log
	}
	return &connections{most: most, all: map[net.Conn]visit{}}
}

// track is for http.Server.ConnState.
func (c *connections) track(conn net.Conn, state http.ConnState) {
	// None must outrun the others. Of the one that accepts, in a flood of new clients half
	// of the probes were closed with their request unread; and who finds its next request
	// there already would go on until the runtime takes the processor away.
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	v, known := c.all[conn]
	switch {
	case state == http.StateNew:
		c.all[conn] = visit{since: time.Now()}
	case !known: // it was closed here
	case state == http.StateClosed || state == http.StateHijacked:
		delete(c.all, conn)
	default:
		v.active = state == http.StateActive
		c.all[conn] = v
	}
	if len(c.all) > c.most {
		c.closeOne()
	}
}

func (c *connections) closeOne() {
	var first net.Conn
	for conn, v := range c.all {
		if v.active && time.Since(v.since) < overstayed {
			continue
		}
		if first == nil || v.since.Before(c.all[first].since) {
			first = conn
		}
	}
	if first != nil {
		_ = first.Close() // the server sees it as gone
		delete(c.all, first)
	}
}
