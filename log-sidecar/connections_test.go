package main

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFirstConnectionMakesRoom(t *testing.T) {
	states := map[string]http.ConnState{"new": http.StateNew, "active": http.StateActive, "idle": http.StateIdle, "closed": http.StateClosed}
	for _, test := range []struct{ name, steps, closed string }{
		{"as many as may be", "a new, b new, c new", ""},
		{"without a request", "a new, b new, c new, d new, e new", "ab"},
		{"request in flight", "a new, b new, a active, c new, d new", "b"},
		{"all in flight but the new one", "a new, b new, c new, a active, b active, c active, d new", "d"},
		{"in flight for too long", "a new, b new, c new, a active, b active, c active, later, d new", "a"},
		{"one request after another", "a new, b new, c new, a active, b active, c active, later, a idle, a active, d new", "a"},
		{"idle again", "a new, a active, b new, a idle, c new, d new, e new", "ab"},
		{"gone by itself", "a new, b new, b active, a closed, b closed, c new, d new, e new", ""},
		{"closed, as the server says too", "a new, b new, c new, d new, a idle, a closed, e new", "ab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, conns, closed := &connections{most: 3, all: map[net.Conn]visit{}}, map[string]net.Conn{}, ""
				for step := range strings.SplitSeq(test.steps, ", ") {
					time.Sleep(time.Millisecond)
					name, state, _ := strings.Cut(step, " ")
					if name == "later" {
						time.Sleep(overstayed)
						continue
					}
					if conns[name] == nil {
						conns[name] = &closing{close: func() { closed += name }}
					}
					c.track(conns[name], states[state])
				}
				assert.Equal(t, test.closed, closed)
			})
		})
	}
}

// Where few files may be open, the log needs some of them.
func TestClientsLeaveRoomForTheLog(t *testing.T) {
	s := newSite(t)
	s.write(t, "first\n")
	sc := s.startUnread(t, inShell(`ulimit -n 64; exec "$0"`))
	sc.read()
	for range 100 {
		conn, err := net.Dial("tcp", sc.address)
		require.NoError(t, err)
		defer conn.Close()
	}
	s.rotate(t)
	s.write(t, "after the rotation\n")
	sc.prints(t, "first", "after the rotation")
	probe := http.Client{Timeout: 3 * time.Second} // the clients' own time is 5
	answer, err := probe.Get("http://" + sc.address + "/health")
	require.NoError(t, err)
	assert.NoError(t, answer.Body.Close())
}

type closing struct {
	net.Conn
	close func()
}

func (c *closing) Close() error {
	c.close()
	return nil
}
