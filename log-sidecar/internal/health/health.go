// Package health asks the app beside the sidecar how it is.
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

// NewApp returns the app whose health is at target, which must be http or https;
// an answer that takes longer than timeout counts as none.
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
			// A kept connection would be one that the app has to wait for when it ends.
			Transport: &http.Transport{DisableKeepAlives: true},
			// As the kubelet's probes do: a redirect is an answer, and a good one.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Check returns nil if the app says that it is healthy: with a status from 200 to
// 399, as the kubelet takes it.
func (a *App) Check(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url.String(), http.NoBody)
	if err != nil {
		return err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close() // the status is all there is to know
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("GET %s: status %d", a.url.Redacted(), response.StatusCode)
	}
	return nil
}

// Ended reports whether the app has ended: then its port refuses connections. An
// error of another kind (no such host, no route) says nothing about the app.
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
		return false, true // it hangs, but it is there
	default:
		return false, false
	}
}
