package main

import (
	"io"
	"net/http"
	"sync/atomic"
)

// app answers every request. It uses a switch instead of an http.ServeMux, because a
// mux redirects paths such as //a and /a/../b, and here they are answered too.
type app struct {
	access   *accessLog
	draining atomic.Bool // set at SIGTERM: still serving, no longer ready
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	draining := a.draining.Load()
	if draining {
		// Makes clients and proxies open their next connection elsewhere, instead
		// of finding an idle one closed.
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
		// net/http flushes the body when this handler returns, so the line is in the
		// file before the client has the whole response.
		a.access.record(r, http.StatusOK)
	}
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // the client may be gone; the request is logged anyway
}
