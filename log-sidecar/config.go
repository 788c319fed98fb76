package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"sidecar.example/log-sidecar/internal/enrich"
	"sidecar.example/log-sidecar/internal/health"
)

// config is what the environment sets; the zero value is not usable.
type config struct {
	logPath      string
	stateDir     string // empty: no checkpoint
	listenAddr   string
	app          *health.App // nil: not asked
	extraFields  []enrich.Field
	maxLineBytes int
	pollInterval time.Duration
	drainTimeout time.Duration
}

// A variable is one environment variable: what -help says of it and how its
// value is taken.
type variable struct {
	name     string
	standard string // the value where the variable is not set, or empty and not mayBeEmpty
	meaning  string
	want     string // the allowed values, for the error message
	set      func(value string) error
}

// mayBeEmpty are the variables for which empty is a value of its own.
var mayBeEmpty = map[string]bool{"STATE_DIR": true, "APP_HEALTH_URL": true}

// healthTimeout bounds the question to the app, so that /health answers within a
// second whatever hangs: the kubelet's probes wait no longer.
const healthTimeout = 500 * time.Millisecond

func (c *config) variables() []variable {
	return []variable{
		{
			"LOG_PATH", "/var/log/app/access.log", "the file to follow; it need not exist yet",
			"the path of a file", filePath(&c.logPath),
		},
		{
			"STATE_DIR", "/var/lib/log-sidecar", "where the checkpoint is kept; empty keeps none",
			"a directory that can be written, or nothing", text(&c.stateDir),
		},
		{
			"LISTEN_ADDR", ":9090", "address of /health and /metrics",
			"host:port or :port", address(&c.listenAddr),
		},
		{
			"APP_HEALTH_URL", "http://localhost:8080/healthz", "the app's health check; empty asks nothing",
			"an http:// or https:// URL, or nothing", c.setApp,
		},
		{
			"EXTRA_FIELDS", "", "key=value,key=value added to every record",
			"key=value,key=value with keys that are unique and not raw, host, processed_at or partial", c.setExtraFields,
		},
		{
			"MAX_LINE_BYTES", "1048576", "a longer line is printed in pieces",
			"a number of bytes from 4 to 1073741824", number(&c.maxLineBytes, 4, 1<<30),
		},
		{
			"POLL_INTERVAL", "1s", "how often to look at the file where no events can be had",
			"a duration from 10ms to 1h, such as 1s", duration(&c.pollInterval, 10*time.Millisecond, time.Hour),
		},
		{
			"DRAIN_TIMEOUT", "20s", "how long the drain after SIGTERM may take",
			"a duration of 0s or more, such as 20s", duration(&c.drainTimeout, 0, math.MaxInt64),
		},
	}
}

// load sets every field from the environment; the error names the variable, its
// value and what is allowed.
func (c *config) load(lookupEnv func(string) (string, bool)) error {
	for _, v := range c.variables() {
		value, isSet := lookupEnv(v.name)
		if !isSet || value == "" && !mayBeEmpty[v.name] {
			value = v.standard
		}
		if err := v.set(value); err != nil {
			return fmt.Errorf("%s=%s: %w: want %s", v.name, value, err, v.want)
		}
	}
	return nil
}

func (c *config) printUsage(w io.Writer) error {
	fmt.Fprint(w, "Usage: log-sidecar [-help | -version]\n\n"+
		"Follows a log file and prints each line as a JSON record. Set by the environment:\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range c.variables() {
		fmt.Fprintf(t, "  %s\t%s\t(default %s)\n", v.name, v.meaning, v.standard)
	}
	return t.Flush()
}

func (c *config) setApp(s string) (err error) {
	if s == "" {
		c.app = nil
		return nil
	}
	c.app, err = health.NewApp(s, healthTimeout)
	return err
}

func (c *config) setExtraFields(s string) error {
	c.extraFields = nil
	if s == "" {
		return nil
	}
	seen := map[string]bool{"raw": true, "host": true, "processed_at": true, "partial": true}
	for pair := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok || key == "":
			return fmt.Errorf("%q is no key=value", pair)
		case seen[key]:
			return fmt.Errorf("key %q is taken", key)
		}
		seen[key] = true
		c.extraFields = append(c.extraFields, enrich.Field{Key: key, Value: value})
	}
	return nil
}

func text(p *string) func(string) error {
	return func(s string) error { *p = s; return nil }
}

// filePath takes the path of something that is a file, if it is there.
func filePath(p *string) func(string) error {
	return func(s string) error {
		*p = s
		if info, err := os.Stat(s); err == nil && info.IsDir() {
			return errors.New("is a directory")
		}
		return nil
	}
}

func address(p *string) func(string) error {
	return func(s string) error {
		*p = s
		_, port, err := net.SplitHostPort(s)
		if err != nil {
			return err
		}
		_, err = strconv.ParseUint(port, 10, 16)
		return err
	}
}

func number(p *int, least, most int) func(string) error {
	return func(s string) (err error) {
		if *p, err = strconv.Atoi(s); err == nil && (*p < least || *p > most) {
			err = errors.New("out of range")
		}
		return err
	}
}

func duration(p *time.Duration, least, most time.Duration) func(string) error {
	return func(s string) (err error) {
		if *p, err = time.ParseDuration(s); err == nil && (*p < least || *p > most) {
			err = errors.New("out of range")
		}
		return err
	}
}
