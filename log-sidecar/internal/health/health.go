// Package health checks whether the app beside the sidecar is healthy, and whether it
// has ended.
package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// App is the app's health endpoint. It is safe for concurrent use.
type App struct {
	url    *url.URL
	client *http.Client
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
	return &App{
		url: u,
		client: &http.Client{
			Timeout: timeout,
			// An idle connection would be one more for the app to close when it shuts
			// down.
			Transport: &http.Transport{DisableKeepAlives: true},
			// A redirect is a healthy answer, as one to another host is for the kubelet.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Check returns nil if the app answers with a status from 200 to 399, which is what the
// kubelet accepts.
func (a *App) Check(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url.String(), http.NoBody)
	if err != nil {
		return err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close() // only the status matters
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("GET %s: status %d", a.url.Redacted(), response.StatusCode)
	}
	return nil
}

// Ended reports whether the app has ended, that is, its port refuses connections. It is
// not known after any other error (no such host, no route), except a timeout.
func (a *App) Ended() (ended, known bool) {
	port := cmp.Or(a.url.Port(), a.url.Scheme) // http and https are service names, which net knows
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(a.url.Hostname(), port), a.client.Timeout)
	var timeout net.Error
	switch {
	case err == nil:
		_ = conn.Close()
		return false, true
	case errors.Is(err, syscall.ECONNREFUSED):
		return true, true
	case errors.As(err, &timeout) && timeout.Timeout():
		return false, true // it hangs, but it is running
	default:
		return false, false
	}
}
