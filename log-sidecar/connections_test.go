package main

import (
	"io"
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
	arrive := func(names ...string) (steps []step) {
		for _, name := range names {
			steps = append(steps, step{name, http.StateNew})
		}
		return steps
	}
	later := step{} // so much that who is there has overstayed
	for _, test := range []struct {
		name   string
		steps  []step
		closed string
	}{
		{"as many as may be", arrive("a", "b", "c"), ""},
		{"without a request", arrive("a", "b", "c", "d", "e"), "ab"},
		{"request in flight", append(arrive("a", "b"), step{"a", http.StateActive}, step{"c", http.StateNew}, step{"d", http.StateNew}), "b"},
		{"all in flight but the new one", append(arrive("a", "b", "c"), step{"a", http.StateActive}, step{"b", http.StateActive}, step{"c", http.StateActive}, step{"d", http.StateNew}), "d"},
		{"in flight for too long", append(arrive("a", "b", "c"), step{"a", http.StateActive}, step{"b", http.StateActive}, step{"c", http.StateActive}, later, step{"d", http.StateNew}), "a"},
		{"one request after another", append(arrive("a", "b", "c"), step{"a", http.StateActive}, step{"b", http.StateActive}, step{"c", http.StateActive}, later, step{"a", http.StateIdle}, step{"a", http.StateActive}, step{"d", http.StateNew}), "a"},
		{"idle again", append(arrive("a"), step{"a", http.StateActive}, step{"b", http.StateNew}, step{"a", http.StateIdle}, step{"c", http.StateNew}, step{"d", http.StateNew}, step{"e", http.StateNew}), "ab"},
		{"gone by itself", append(arrive("a", "b"), step{"b", http.StateActive}, step{"a", http.StateClosed}, step{"b", http.StateClosed}, step{"c", http.StateNew}, step{"d", http.StateNew}, step{"e", http.StateNew}), ""},
		{"closed, as the server says too", append(arrive("a", "b", "c", "d"), step{"a", http.StateIdle}, step{"a", http.StateClosed}, step{"e", http.StateNew}), "ab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, conns, closed := &connections{most: 3, all: map[net.Conn]visit{}}, map[string]net.Conn{}, ""
				for _, step := range test.steps {
					time.Sleep(time.Millisecond)
					if step == later {
						time.Sleep(overstayed)
						continue
					}
					if conns[step.conn] == nil {
						conns[step.conn] = &closing{close: func() { closed += step.conn }}
					}
					c.track(conns[step.conn], step.state)
				}
				assert.Equal(t, test.closed, closed)
			})
		})
	}
}

type step struct {
	conn  string
	state http.ConnState
}

type closing struct {
	net.Conn
	close func()
}

func (c *closing) Close() error {
	c.close()
	return nil
}

// Clients that hold as many connections as they can get, with headers as long as
// they can get, neither fill the memory nor keep the probes out.
func TestProbesAreAnsweredBesideGreedyClients(t *testing.T) {
	sc := newSite(t).start(t)
	header := strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 1000)
	for range 5 * maxConnections {
		conn, err := net.Dial("tcp", sc.address)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetWriteDeadline(time.Now().Add(time.Second)))
		_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: x\r\n"+header[:7000])
	}
	for range 20 {
		status, _ := sc.get(t, "/health")
		assert.Equal(t, http.StatusOK, status)
	}
	sc.assertSmall(t)
}
