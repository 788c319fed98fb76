package main

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// app answers every request. It uses a switch instead of an http.ServeMux, because a
// mux redirects paths such as //a and /a/../b, and here they are answered too.
type app struct {
	access   *accessLog
	clients  *connections
	turns    chan struct{} // one is in it for each request that is being answered
	draining atomic.Bool   // set at SIGTERM: still serving, no longer ready
}

func newApp(access *accessLog) *app {
	clients := newConnections()
	return &app{access: access, clients: clients, turns: make(chan struct{}, clients.maxAnswering())}
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.clients.enter()
	path, proxied := r.URL.Path, r.Method == http.MethodConnect
	probe := (path == "/healthz" || path == "/readyz") && !proxied
	if !probe { // a log that is slow must not hold up those
		a.turns <- struct{}{}
		defer func() { <-a.turns }()
	}
	defer a.clients.leave() // before the turn ends: the next one shall count this one as held
	draining, crowded := a.draining.Load(), a.clients.held() > a.clients.maxHeld()
	if draining || crowded || proxied || a.clients.full() {
		// Draining, it makes clients and proxies open their next connection elsewhere,
		// instead of finding an idle one closed. Full, it makes room where no connection
		// is ever idle. What follows a CONNECT is meant for somebody else, and must not be
		// taken for more requests.
		w.Header().Set("Connection", "close")
	}
	switch {
	case path == "/readyz" && probe && draining: // readiness: the Service may send traffic here
		answer(w, http.StatusServiceUnavailable, "draining")
	case probe: // liveness, too: the process serves
		answer(w, http.StatusOK, "ok")
	case proxied:
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		a.answerAndRecord(w, r, http.StatusMethodNotAllowed, "this is no proxy\n")
	case crowded:
		a.answerAndRecord(w, r, http.StatusServiceUnavailable, "too many requests at a time\n")
	default:
		a.answerAndRecord(w, r, http.StatusOK, "Hello from main-app\n")
	}
	if crowded {
		hangUp(w)
	}
}

// answerAndRecord puts the line into the file before the client has the whole
// response: net/http flushes the body when the handler returns.
func (a *app) answerAndRecord(w http.ResponseWriter, r *http.Request, status int, body string) {
	answer(w, status, body)
	a.access.record(r, status)
}

// hangUp sends what was answered and closes the connection. Left to net/http, that
// would wait for the request's body, and then half a second for the client; and, if it
// reads none of its answers, for as long as for any other.
func hangUp(w http.ResponseWriter) {
	conn := http.NewResponseController(w)
	_ = conn.SetWriteDeadline(time.Now().Add(grace))
	_ = conn.Flush()
	_ = conn.SetReadDeadline(time.Now())
	panic(http.ErrAbortHandler)
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the client may be gone; the request is logged anyway
}
