// Package health checks whether the app beside the sidecar is healthy, and whether it
// has ended.
package health

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode"
)

const (
	// shareFor is how long an answer of the app is given to all who ask: the app is not
	// asked more often, however often the sidecar is.
	shareFor = time.Second

	// maxHeader bounds what is read of an answer, and maxError what is said of it: the
	// app may answer with anything, and net/http quotes it.
	maxHeader = 8 << 10
	maxError  = 200
)

// App is the app's health endpoint. It is safe for concurrent use.
type App struct {
	url      *url.URL
	client   *http.Client
	answered atomic.Bool // its port has accepted a connection

	mu        sync.Mutex // held while the app is asked; protects following
	checked   error      // what Check returned last
	checkedAt time.Time
}

// NewApp returns the app whose health check is at target, an http or https URL; no
// answer within timeout is a failure.
func NewApp(target string, timeout time.Duration) (*App, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, errors.New("not an http or https URL with a host")
	}
	if port, err := strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16); err != nil || port == 0 {
		return nil, fmt.Errorf("no such port: %s", u.Port())
	}
	a := &App{url: u}
	a.client = &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: a.dial,
			// An idle connection would be one more for the app to close when it shuts
			// down.
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: maxHeader,
			// As for the kubelet's probes: an app in the same Pod has a certificate for its
			// clients, and none for localhost.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // nothing secret is sent
		},
		// A redirect is a healthy answer, as one to another host is for the kubelet.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return a, nil
}

func (a *App) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err == nil {
		a.answered.Store(true)
	}
	return conn, err
}

// Check returns nil if the app answers with a status from 200 to 399, which is what the
// kubelet accepts. The answer may be one that somebody else got within the last second.
func (a *App) Check() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.checkedAt) > shareFor {
		a.checked = a.ask()
		a.checkedAt = time.Now()
	}
	return a.checked
}

func (a *App) ask() error {
	response, err := a.client.Get(a.url.String())
	if err != nil {
		var asked *url.Error // names the URL, which the reader knows and which may be long
		if errors.As(err, &asked) {
			err = asked.Err
		}
		return errors.New(printable(err.Error()))
	}
	_ = response.Body.Close() // only the status matters
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("status %d", response.StatusCode)
	}
	return nil
}

// printable is the beginning of text that may quote the app, safe to be shown.
func printable(text string) string {
	if len(text) > maxError {
		text = text[:maxError] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// Ended reports whether the app has ended, that is, its port refuses connections now and
// accepted one before: one that never did may be the wrong port. It is not known after
// any other error (no such host, no route), except a timeout.
func (a *App) Ended() (ended, known bool) {
	port := cmp.Or(a.url.Port(), a.url.Scheme) // http and https are service names, which net knows
	ctx, cancel := context.WithTimeout(context.Background(), a.client.Timeout)
	defer cancel()
	conn, err := a.dial(ctx, "tcp", net.JoinHostPort(a.url.Hostname(), port))
	var timeout net.Error
	switch {
	case err == nil:
		_ = conn.Close()
		return false, true
	case errors.Is(err, syscall.ECONNREFUSED):
		answered := a.answered.Load()
		return answered, answered
	case errors.As(err, &timeout) && timeout.Timeout():
		return false, true // it hangs, but it is running
	default:
		return false, false
	}
}
