package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"sidecar.example/main-app/internal/logfile"
)

const maxHeld = maxConnections * 3 / 4

func TestProbesAreAnsweredAtAFullHouse(t *testing.T) {
	for name, sent := range map[string]string{
		"nothing sent":   "",
		"half a header":  "GET /half HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 16<<10),
		"idle":           "GET /idle HTTP/1.1\r\nHost: x\r\n\r\n",
		"half a request": "POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n",
		"half a probe":   "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			app := spawn(t)
			held := app.hold(t)
			for range maxConnections + 200 {
				// Those that are one too many may be closed meanwhile.
				_, _ = io.WriteString(app.dial(t), sent)
			}
			probe := app.dial(t)
			require.NoError(t, probe.SetDeadline(time.Now().Add(8*time.Second)), "sooner than a timeout frees a place")
			_, err := io.WriteString(probe, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
			require.NoError(t, err)
			require.NoError(t, readAnswer(bufio.NewReader(probe)))

			_, err = io.WriteString(held, "body")
			require.NoError(t, err)
			assert.NoError(t, readAnswer(bufio.NewReader(held)), "a request in flight is finished")
		})
	}
}

func TestFewFilesCostNeitherProbesNorLines(t *testing.T) {
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	cmd := exec.Command(sh, "-c", `ulimit -n 64 && exec "$0"`, os.Args[0])
	app := launch(t, cmd, "LOG_MAX_BYTES=500", "LOG_MAX_FILES=1000")
	app.awaitServing(t)
	for range 200 { // one that is slow to send may be closed meanwhile
		_, _ = io.WriteString(app.dial(t), "GET /idle HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	eventually(t, func() bool {
		probe := app.dial(t)
		_, err := io.WriteString(probe, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		return err == nil && readAnswer(bufio.NewReader(probe)) == nil
	}, "a probe is answered")
	eventually(t, func() bool { _, err := os.Stat(app.log + ".9"); return err == nil }, "rotated meanwhile")
	assert.Empty(t, app.stderr.messages("lines"), "none is lost")
	assert.Empty(t, app.stderr.messages("too many open files"))
}

// serveOn serves in this process, where a test can reach into the app.
func serveOn(t *testing.T, listener net.Listener) *app {
	t.Helper()
	file, err := logfile.Open(filepath.Join(t.TempDir(), "access.log"), 1<<20, 1)
	require.NoError(t, err)
	log := slog.New(slog.DiscardHandler)
	app := newApp(&accessLog{file: file, log: log})
	ctx, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, ctx, listener, app, config{}, log) }()
	t.Cleanup(func() { end(); assert.Error(t, <-served, "cut short") })
	return app
}

// fill takes every connection with a request that waits for the log.
func fill(t *testing.T, app *app, client *instance, request string) (conns []net.Conn) {
	t.Helper()
	for range maxConnections {
		conn := client.dial(t)
		_, err := io.WriteString(conn, request)
		require.NoError(t, err)
		conns = append(conns, conn)
	}
	eventually(t, func() bool { return app.clients.inFlight() == maxConnections }, "all wait for the log")
	return conns
}

// Requests that wait for the log are not held yet, and may all be a moment later.
func TestProbesAreAnsweredAfterTheLogWasSlow(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	app, client := serveOn(t, listener), &instance{address: listener.Addr().String()}
	app.access.mu.Lock()
	fill(t, app, client, "POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
	app.access.mu.Unlock()
	probe := client.dial(t)
	_, err = io.WriteString(probe, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	assert.NoError(t, readAnswer(bufio.NewReader(probe)), "sooner than a timeout frees a place")
}

// Clients that send the next request as soon as they have an answer leave no connection
// idle for long enough to be closed.
func TestBusyClientsMakeRoomForOthers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	app, client := serveOn(t, listener), &instance{address: listener.Addr().String()}
	app.access.mu.Lock()
	conns := fill(t, app, client, "GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
	client.dial(t)
	eventually(t, app.clients.full, "one more waits")
	app.access.mu.Unlock()
	closed := 0
	for _, conn := range conns {
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		if answer.Close {
			closed++
		}
	}
	assert.Positive(t, closed, "told that it is closed, before another request is on its way")
	assert.Less(t, closed, maxConnections, "no more than it takes")
}

// The line has been written by then, and says what was sent.
func TestBodyThatNeverComesIsAnswered(t *testing.T) {
	file, err := logfile.Open(filepath.Join(t.TempDir(), "access.log"), 1<<20, 1)
	require.NoError(t, err)
	log := slog.New(slog.DiscardHandler)
	app := newApp(&accessLog{file: file, log: log})
	server := newServer(app, log)
	server.ConnState = app.clients.track
	server.ReadTimeout /= 30 // in proportion: there is time to answer
	server.WriteTimeout /= 30
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		assert.NoError(t, server.Close())
		assert.ErrorIs(t, <-served, http.ErrServerClosed)
	})
	client := &instance{address: listener.Addr().String()}
	var conns []net.Conn
	for range 100 {
		conns = append(conns, client.dial(t))
		_, err := io.WriteString(conns[len(conns)-1], "POST /half HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
		require.NoError(t, err)
	}
	for _, conn := range conns {
		require.NoError(t, readAnswer(bufio.NewReader(conn)))
	}
}

// pipes is a listener whose connections have no buffers: what is not read is not written.
type pipes chan net.Conn

func (p pipes) Addr() net.Addr { return &net.UnixAddr{} }
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) send(t *testing.T, request string) {
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	p <- server
	_, err := io.WriteString(client, request)
	require.NoError(t, err)
}

func TestRefusedRequestsDoNotWaitForTheirClients(t *testing.T) {
	listener := make(pipes)
	app := serveOn(t, listener)
	for range maxHeld + 1 {
		listener.send(t, "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
	}
	eventually(t, func() bool { return app.clients.held() == maxHeld+1 }, "held")
	for range app.clients.maxAnswering() {
		listener.send(t, "GET /unread HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	eventually(t, func() bool { return app.clients.inFlight() == maxHeld+1 }, "hung up on")
}

func TestTooManyHeldRequestsAreRefused(t *testing.T) {
	app := spawn(t)
	for range maxHeld + 1 {
		_, err := io.WriteString(app.dial(t), "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
		require.NoError(t, err)
	}
	eventually(t, func() bool { return app.hasLogged(t, maxHeld+1) }, "all in flight")
	var answer string
	eventually(t, func() bool { // a handler that has logged counts until it returns
		conn := app.dial(t)
		_ = conn.SetDeadline(time.Now().Add(time.Second / 4))
		_, _ = io.WriteString(conn, "POST /more HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
		all, err := io.ReadAll(conn)
		answer = string(all)
		return err == nil
	}, "hung up on, and soon")
	assert.Contains(t, answer, "HTTP/1.1 503 Service Unavailable\r\n")
	assert.Contains(t, answer, "\r\n\r\ntoo many requests at a time\n")
	lines := app.lines(t)
	assert.Contains(t, lines[len(lines)-1], `"path":"/more","status":503}`)
}

// More than there may be connections, and faster than they are accepted.
func TestBurstOfNewClientsLosesNoRequest(t *testing.T) {
	app := spawn(t)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			var conns []net.Conn
			for range maxConnections / 4 {
				conn, err := net.Dial("tcp", app.address)
				if !assert.NoError(t, err) {
					return
				}
				defer conn.Close()
				_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				assert.NoError(t, err)
				conns = append(conns, conn)
			}
			for _, conn := range conns {
				assert.NoError(t, readAnswer(bufio.NewReader(conn)))
			}
		})
	}
	clients.Wait()
	assert.Len(t, app.lines(t), 2*maxConnections)
}
