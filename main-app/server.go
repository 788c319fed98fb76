package main

import (
	"io"
	"net/http"
	"sync/atomic"
)

// app answers every request. It is a switch, not an http.ServeMux, because a
// mux redirects paths such as //a or /a/../b, and here each gets its answer.
type app struct {
	access   *accessLog
	draining atomic.Bool // set at SIGTERM: still serving, no longer ready
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	draining := a.draining.Load()
	if draining {
		// Tells clients and proxies to open their next connection elsewhere,
		// before the idle ones are closed under them.
		w.Header().Set("Connection", "close")
	}
	switch r.URL.Path {
	case "/healthz": // liveness: the process serves
		answer(w, http.StatusOK, "ok")
	case "/readyz": // readiness: the Service may send traffic here
		if draining {
			answer(w, http.StatusServiceUnavailable, "draining")
			return
		}
		answer(w, http.StatusOK, "ok")
	default:
		answer(w, http.StatusOK, "Hello from main-app\n")
		// The body is still in net/http's buffer: it is flushed when this handler
		// returns, so the line is in the file before the client has the answer.
		a.access.record(r, http.StatusOK)
	}
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the client may be gone; the line is written all the same
}
