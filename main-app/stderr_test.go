package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fullPipe returns a pipe into which nothing more goes until it is read.
func fullPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	var ends [2]int
	require.NoError(t, syscall.Pipe(ends[:]))
	require.NoError(t, syscall.SetNonblock(ends[1], true))
	var err error
	for filler := []byte(strings.Repeat("x", 4095) + "\n"); err == nil; _, err = syscall.Write(ends[1], filler) {
	}
	require.ErrorIs(t, err, syscall.EAGAIN)
	require.NoError(t, syscall.SetNonblock(ends[1], false)) // a write waits, as on a container's stderr
	r, w = os.NewFile(uintptr(ends[0]), "pipe"), os.NewFile(uintptr(ends[1]), "pipe")
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

func TestCountsWhatABlockedStderrCosts(t *testing.T) {
	r, pipe := fullPipe(t)
	const written = 10 * messagesQueued
	stderr := newLossyWriter(pipe)
	for i := range written {
		_, err := fmt.Fprintf(stderr, "message %d\n", i)
		require.NoError(t, err)
	}
	stderr.Flush(time.Millisecond) // gives up: nobody reads

	var read output
	go func() { _, _ = io.Copy(&read, r) }()
	stderr.Flush(10 * time.Second)
	eventually(t, func() bool {
		got := strings.Count(read.String(), "message ")
		for _, m := range read.messages("dropped") {
			got += m.Count
		}
		return got == written
	}, "every message, or its count")
	assert.Contains(t, read.String(), "message 0\n")
	assert.NotContains(t, read.String(), fmt.Sprintf("message %d\n", written-1), "dropped")
}

func TestFlushWaitsForTheLastMessage(t *testing.T) {
	var read output
	stderr := newLossyWriter(&read)
	for i := range messagesQueued {
		_, _ = fmt.Fprintln(stderr, i)
	}
	stderr.Flush(10 * time.Second)
	assert.True(t, strings.HasSuffix(read.String(), fmt.Sprintf("\n%d\n", messagesQueued-1)), read.String())
}

// Each way in which a process can be given a stderr that takes nothing.
var deafStderrs = map[string]func(t *testing.T, cmd *exec.Cmd){
	"full and unread": func(t *testing.T, cmd *exec.Cmd) { _, cmd.Stderr = fullPipe(t) },
	"reader gone": func(t *testing.T, cmd *exec.Cmd) {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, r.Close())
		t.Cleanup(func() { _ = w.Close() })
		cmd.Stderr = w
	},
	"closed": func(t *testing.T, cmd *exec.Cmd) {
		sh, err := exec.LookPath("sh")
		require.NoError(t, err)
		cmd.Path, cmd.Args = sh, []string{"sh", "-c", `exec "$0" "$@" 2>&-`, os.Args[0]}
	},
}

func TestDeafStderrHoldsNothingUp(t *testing.T) {
	for name, deafen := range deafStderrs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deaf := func(variable string) *instance {
				cmd := exec.Command(os.Args[0])
				deafen(t, cmd)
				return launch(t, cmd, variable)
			}
			assert.Equal(t, 1, deaf("LOG_MAX_FILES=0").ends(t), "the exit code stays")

			free, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			address := free.Addr().String()
			require.NoError(t, free.Close())
			app := deaf("LISTEN_ADDR=" + address)
			app.address = address
			eventually(t, func() bool { return !app.refuses() }, "serves")

			// Lost lines are what it has most to say about.
			require.NoError(t, os.RemoveAll(filepath.Dir(app.log)))
			for range 3 {
				answer, _ := app.get(t, "/")
				assert.Equal(t, http.StatusOK, answer.StatusCode)
			}
			app.signal(syscall.SIGTERM)
			assert.Zero(t, app.ends(t))
		})
	}
}

// The default of either ends a process.
func TestIgnoresTheSignalsOfLogrotateScripts(t *testing.T) {
	app := spawn(t)
	ignored := func() {
		for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGPIPE} {
			app.signal(s)
		}
	}
	ignored()
	held := app.hold(t)
	app.signal(syscall.SIGTERM)
	eventually(t, app.refuses, "draining")
	ignored()
	assert.Contains(t, send(t, held, "body"), "200 OK")
	assert.Zero(t, app.ends(t))
}
