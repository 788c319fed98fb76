package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"sidecar.example/log-sidecar/internal/health"
	"sidecar.example/log-sidecar/internal/record"
)

// config holds the settings read from the environment.
type config struct {
	logPath      string
	stateDir     string // empty: no checkpoint
	listenAddr   string
	app          *health.App // nil: not checked
	extraFields  []record.Field
	maxLineBytes int
	pollInterval time.Duration
	drainTimeout time.Duration
}

// readConfig is the only place that lists the environment variables.
func readConfig(e *environment) config {
	return config{
		logPath: variable(e, "LOG_PATH", "/var/log/app/access.log", "the file to follow; it need not exist yet",
			"the path of a file", filePath),
		stateDir: variable(e, "STATE_DIR", "/var/lib/log-sidecar", "directory of the checkpoint; empty keeps none",
			wantStateDir, text),
		listenAddr: variable(e, "LISTEN_ADDR", ":9090", "address of /health and /metrics",
			"host:port or :port", address),
		app: variable(e, "APP_HEALTH_URL", "http://localhost:8080/healthz", "the app's health check; empty checks nothing",
			"an http:// or https:// URL, or empty", healthOf),
		extraFields: variable(e, "EXTRA_FIELDS", "", "key=value,key=value added to every record",
			"key=value,key=value with keys that are UTF-8, unique and not raw, host, processed_at or partial", fields),
		maxLineBytes: variable(e, "MAX_LINE_BYTES", "1048576", "longer lines are printed in pieces",
			"a number of bytes from 4 to 1073741824", between(4, 1<<30, strconv.Atoi)),
		pollInterval: variable(e, "POLL_INTERVAL", "1s", "how often to check the file while file events are unavailable",
			"a duration from 10ms to 1h, such as 1s", between(10*time.Millisecond, time.Hour, time.ParseDuration)),
		drainTimeout: variable(e, "DRAIN_TIMEOUT", "20s", "how long the drain after SIGTERM may take",
			"a duration from 0s to 24h, such as 20s", between(0, 24*time.Hour, time.ParseDuration)),
	}
}

const wantStateDir = "a writable directory of its own, or empty"

// mayBeEmpty lists the variables for which empty is a value, not the default.
var mayBeEmpty = []string{"STATE_DIR", "APP_HEALTH_URL"}

// An environment looks up variables, and collects their help and the first error.
type environment struct {
	lookup func(name string) (value string, isSet bool)
	help   []byte // one line per variable looked up
	err    error  // the first one; it names the variable, its value and what is allowed
}

// variable parses the variable's value, or fallback if it is unset, or empty and not
// allowed to be.
func variable[T any](e *environment, name, fallback, meaning, want string, parse func(string) (T, error)) T {
	e.help = fmt.Appendf(e.help, "  %-14s  %s (default %s)\n", name, meaning, fallback)
	value, isSet := e.lookup(name)
	if !isSet || !slices.Contains(mayBeEmpty, name) {
		value = cmp.Or(value, fallback)
	}
	parsed, err := parse(value)
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("%s=%s: want %s", name, value, want)
	}
	return parsed
}

func text(s string) (string, error) { return s, nil }

// filePath accepts any path except that of a directory, which need not exist yet either.
func filePath(s string) (string, error) {
	if info, err := os.Stat(s); err == nil && info.IsDir() || strings.HasSuffix(s, "/") {
		return s, syscall.EISDIR
	}
	return s, nil
}

func address(s string) (string, error) {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	return s, err
}

// healthOf limits the app's health check to half a second, so that /health answers
// within one whatever hangs: the kubelet's probes wait no longer.
func healthOf(s string) (*health.App, error) {
	if s == "" {
		return nil, nil
	}
	return health.NewApp(s, 500*time.Millisecond)
}

func fields(s string) (all []record.Field, err error) {
	if s == "" {
		return nil, nil
	}
	taken := []string{"raw", "host", "processed_at", "partial"}
	for pair := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" || !utf8.ValidString(key) || slices.Contains(taken, key) {
			return nil, strconv.ErrSyntax
		}
		taken = append(taken, key)
		all = append(all, record.Field{Key: key, Value: value})
	}
	return all, nil
}

// between makes parse reject values outside least to most.
func between[T cmp.Ordered](least, most T, parse func(string) (T, error)) func(string) (T, error) {
	return func(s string) (T, error) {
		v, err := parse(s)
		if err == nil && (v < least || v > most) {
			err = strconv.ErrRange
		}
		return v, err
	}
}
