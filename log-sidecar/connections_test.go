package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLongestWaitingConnectionMakesRoom(t *testing.T) {
	for _, test := range []struct {
		name   string
		steps  []step
		closed string
	}{
		{"as many as may be", []step{{"a", http.StateNew}, {"b", http.StateNew}, {"c", http.StateNew}}, ""},
		{"without a request", []step{{"a", http.StateNew}, {"b", http.StateNew}, {"c", http.StateNew}, {"d", http.StateNew}, {"e", http.StateNew}}, "ab"},
		{"request in flight", []step{{"a", http.StateNew}, {"b", http.StateNew}, {"a", http.StateActive}, {"c", http.StateNew}, {"d", http.StateNew}}, "b"},
		{"all in flight but the new one", []step{{"a", http.StateActive}, {"b", http.StateActive}, {"c", http.StateActive}, {"d", http.StateNew}}, "d"},
		{"idle again", []step{{"a", http.StateActive}, {"b", http.StateNew}, {"a", http.StateIdle}, {"c", http.StateNew}, {"d", http.StateNew}, {"e", http.StateNew}}, "ba"},
		{"gone by itself", []step{{"a", http.StateNew}, {"b", http.StateActive}, {"a", http.StateClosed}, {"b", http.StateClosed}, {"c", http.StateNew}, {"d", http.StateNew}, {"e", http.StateNew}}, ""},
		{"closed, as the server says too", []step{{"a", http.StateNew}, {"b", http.StateNew}, {"c", http.StateNew}, {"d", http.StateNew}, {"a", http.StateClosed}, {"e", http.StateNew}}, "ab"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, conns, closed := &connections{most: 3, active: map[net.Conn]bool{}}, map[string]net.Conn{}, ""
			for _, step := range test.steps {
				if conns[step.conn] == nil {
					conns[step.conn] = &closing{close: func() { closed += step.conn }}
				}
				c.track(conns[step.conn], step.state)
			}
			assert.Equal(t, test.closed, closed)
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
