package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
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

func TestMessagesOfBlockedStderrAreCounted(t *testing.T) {
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
	eventually(t, "every message, or its count", func() bool {
		got := strings.Count(read.String(), "message ")
		for _, m := range read.messages("dropped") {
			got += m.Count
		}
		return got == written
	})
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
	"closed": func(t *testing.T, cmd *exec.Cmd) { inShell(t, cmd, `exec "$0" 2>&-`) },
}

// inShell makes cmd what the script runs as $0.
func inShell(t *testing.T, cmd *exec.Cmd, script string) {
	t.Helper()
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	cmd.Args = []string{"sh", "-c", script, cmd.Path}
	cmd.Path = sh
}

// takePort sets LISTEN_ADDR, for a sidecar that can't say where it serves.
func (s *site) takePort(t *testing.T) (address string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = free.Addr().String()
	require.NoError(t, free.Close())
	s.set("LISTEN_ADDR=" + address)
	return address
}

// startDeaf starts a sidecar that can say nothing.
func (s *site) startDeaf(t *testing.T, deafen func(*testing.T, *exec.Cmd)) *sidecar {
	t.Helper()
	address := s.takePort(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	sc := &sidecar{cmd: s.command(), address: address, stdout: r}
	deafen(t, sc.cmd)
	sc.startWith(t, w)
	sc.read()
	return sc
}

// Each truncation is a message.
func TestDeafStderrHoldsNothingUp(t *testing.T) {
	for name, deafen := range deafStderrs {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "POLL_INTERVAL=10ms")
			sc := s.startDeaf(t, deafen)
			for i := range 5 {
				s.write(t, numbered(i, i+1))
				sc.printsNumbered(t, i+1)
				require.NoError(t, os.Truncate(s.log, 0))
				eventually(t, "it sees the truncation", func() bool { return sc.metric(t, "truncations_total") == float64(i+1) })
			}
			sc.signal(t, syscall.SIGTERM)
			assert.Equal(t, 0, sc.exits(t))
		})
	}
}

func TestDeafStderrLeavesTheExitCode(t *testing.T) {
	for name, deafen := range deafStderrs {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "MAX_LINE_BYTES=0")
			began := time.Now()
			assert.Equal(t, 1, s.startDeaf(t, deafen).exits(t))
			assert.Less(t, time.Since(began), 5*time.Second)
		})
	}
}
