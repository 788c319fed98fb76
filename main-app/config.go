package main

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"time"
)

// config holds the settings read from the environment.
type config struct {
	listenAddr      string
	logPath         string
	logMaxBytes     int // 0 never rotates
	logMaxFiles     int
	shutdownDelay   time.Duration
	shutdownTimeout time.Duration
}

// readConfig is the only place that lists the environment variables.
func readConfig(e *environment) config {
	return config{
		listenAddr: variable(e, "LISTEN_ADDR", ":8080", "address of the HTTP server",
			"host:port or :port", address),
		logPath: variable(e, "LOG_PATH", "/var/log/app/access.log", "the access log",
			"the path of a file", text),
		logMaxBytes: variable(e, "LOG_MAX_BYTES", "16777216", "rotate before a line would make the file larger than this; 0 never rotates",
			"a number of bytes from 0 to 1099511627776", between(0, 1<<40, strconv.Atoi)),
		logMaxFiles: variable(e, "LOG_MAX_FILES", "8", "files to keep in all: the live one and LOG_PATH.1 (newest), LOG_PATH.2, ...",
			"a number of files from 1 to 1000", between(1, 1000, strconv.Atoi)),
		shutdownDelay: variable(e, "SHUTDOWN_DELAY", "3s", "how long to keep serving, no longer ready, after SIGTERM",
			"a duration from 0s to 24h, such as 3s", between(0, 24*time.Hour, time.ParseDuration)),
		shutdownTimeout: variable(e, "SHUTDOWN_TIMEOUT", "10s", "how long requests in flight may then take",
			"a duration from 0s to 24h, such as 10s", between(0, 24*time.Hour, time.ParseDuration)),
	}
}

// An environment looks up variables, and collects their help and the first error.
type environment struct {
	lookup func(name string) (value string, isSet bool)
	help   []byte // one line per variable looked up
	err    error  // the first one; it names the variable, its value and what is allowed
}

// variable parses the variable's value, or fallback if it is unset or empty.
func variable[T any](e *environment, name, fallback, meaning, want string, parse func(string) (T, error)) T {
	e.help = fmt.Appendf(e.help, "  %-16s  %s (default %s)\n", name, meaning, fallback)
	value, _ := e.lookup(name)
	value = cmp.Or(value, fallback)
	parsed, err := parse(value)
	if err != nil && e.err == nil {
		e.err = fmt.Errorf("%s=%s: want %s", name, value, want)
	}
	return parsed
}

func text(s string) (string, error) { return s, nil }

func address(s string) (string, error) {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	return s, err
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
