package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func dial(t *testing.T, address, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, text)
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	return conn
}

func assertAnswered(t *testing.T, conn net.Conn) {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, response.StatusCode)
	assert.NoError(t, response.Body.Close())
}

func assertClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := conn.Read(make([]byte, 1))
	require.Error(t, err)
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestLongestWaitingConnectionMakesRoom(t *testing.T) {
	inFlight, answer := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			inFlight <- struct{}{}
			<-answer
		}
	}))
	server.Config.ConnState = (&connLimit{most: 3, active: map[net.Conn]bool{}}).track
	server.Start()
	defer server.Close()
	address := server.Listener.Addr().String()

	slow := dial(t, address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	<-inFlight
	idle := dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	assertAnswered(t, idle)
	silent := dial(t, address, "")
	assertAnswered(t, dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	assertClosed(t, idle)
	half := dial(t, address, "GET / HTTP/1.1\r\nX:")
	assertClosed(t, silent)
	for range 3 {
		assertAnswered(t, dial(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	}
	assertClosed(t, half)
	close(answer)
	assertAnswered(t, slow)
}

// Clients that hold as many connections as they can get, with headers as long as
// they can get, neither fill the memory nor keep the probes out.
func TestProbesAreAnsweredBesideGreedyClients(t *testing.T) {
	sc := newSite(t).start(t)
	header := strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 1000)
	for range 5 * maxConns {
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
