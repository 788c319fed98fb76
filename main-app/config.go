package main

import (
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"text/tabwriter"
	"time"
)

// config is what the environment sets; the zero value is not usable.
type config struct {
	listenAddr      string
	logPath         string
	logMaxBytes     int64 // 0 never rotates
	logMaxFiles     int
	shutdownDelay   time.Duration
	shutdownTimeout time.Duration
}

// A variable is one environment variable: what -help says of it and how its
// value is taken.
type variable struct {
	name     string
	standard string // the value where the variable is unset or empty
	meaning  string
	want     string // the allowed values, for the error message
	set      func(value string) bool
}

func (c *config) variables() []variable {
	return []variable{
		{
			"LISTEN_ADDR", ":8080", "address of the HTTP server",
			"host:port or :port", address(&c.listenAddr),
		},
		{
			"LOG_PATH", "/var/log/app/access.log", "the access log",
			"the path of a file", text(&c.logPath),
		},
		{
			"LOG_MAX_BYTES", "16777216", "rotate before a line would make the file larger than this; 0 never rotates",
			"a number of bytes, 0 or more", number(&c.logMaxBytes, 0, math.MaxInt64),
		},
		{
			"LOG_MAX_FILES", "8", "files kept in all: the live one and LOG_PATH.1 (newest), LOG_PATH.2, ...",
			"a number of files from 1 to 1000", number(&c.logMaxFiles, 1, 1000),
		},
		{
			"SHUTDOWN_DELAY", "3s", "how long to go on serving, no longer ready, after SIGTERM",
			"a duration of 0s or more, such as 3s", duration(&c.shutdownDelay, 0),
		},
		{
			"SHUTDOWN_TIMEOUT", "10s", "how long requests in flight may then take",
			"a duration of 0s or more, such as 10s", duration(&c.shutdownTimeout, 0),
		},
	}
}

// load sets every field from the environment; the error names the variable, its
// value and what is allowed.
func (c *config) load(lookupEnv func(string) (string, bool)) error {
	for _, v := range c.variables() {
		value, _ := lookupEnv(v.name)
		if value == "" {
			value = v.standard
		}
		if !v.set(value) {
			return fmt.Errorf("%s=%s: want %s", v.name, value, v.want)
		}
	}
	return nil
}

func (c *config) printUsage(w io.Writer) error {
	fmt.Fprint(w, "Usage: main-app [-help | -version]\n\n"+
		"Serves HTTP and appends one JSON line per request to a log file.\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range c.variables() {
		fmt.Fprintf(t, "  %s\t%s\t(default %s)\n", v.name, v.meaning, v.standard)
	}
	return t.Flush()
}

func text(p *string) func(string) bool {
	return func(s string) bool { *p = s; return true }
}

func address(p *string) func(string) bool {
	return func(s string) bool {
		_, port, err := net.SplitHostPort(s)
		if err != nil {
			return false
		}
		_, err = strconv.ParseUint(port, 10, 16)
		*p = s
		return err == nil
	}
}

func number[T int | int64](p *T, least, most T) func(string) bool {
	return func(s string) bool {
		n, err := strconv.ParseInt(s, 10, 64)
		*p = T(n)
		return err == nil && n >= int64(least) && n <= int64(most)
	}
}

func duration(p *time.Duration, least time.Duration) func(string) bool {
	return func(s string) bool {
		d, err := time.ParseDuration(s)
		*p = d
		return err == nil && d >= least
	}
}
