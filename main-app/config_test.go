package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whatever the variables hold, either they are all valid, or an error names one of them,
// its value and what is allowed.
func FuzzVariables(f *testing.F) {
	names := []string{"LISTEN_ADDR", "LOG_PATH", "LOG_MAX_BYTES", "LOG_MAX_FILES", "SHUTDOWN_DELAY", "SHUTDOWN_TIMEOUT"}
	f.Add(":8080", "/var/log/app/access.log", "16777216", "8", "3s", "10s")
	f.Add("", "", "", "", "", "")
	f.Add("localhost:http", "\x00", "-1", "0", "1", "25h")
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g string) {
		values := map[string]string{}
		for n, value := range []string{a, b, c, d, e, g} {
			values[names[n]] = value
		}
		env := &environment{lookup: lookup(values)}
		cfg := readConfig(env)
		if env.err != nil {
			at := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(env.err.Error(), name+"="+values[name]) })
			require.GreaterOrEqual(t, at, 0, env.err.Error())
			require.Contains(t, env.err.Error(), ": want ")
			return
		}
		require.GreaterOrEqual(t, cfg.logMaxBytes, 0)
		require.Positive(t, cfg.logMaxFiles)
		require.GreaterOrEqual(t, cfg.shutdownDelay, time.Duration(0))
		require.GreaterOrEqual(t, cfg.shutdownTimeout, time.Duration(0))
	})
}
