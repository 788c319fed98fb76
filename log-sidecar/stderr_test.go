package main

import (
	"fmt"
	"io"
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
	stderr.Flush(patience)
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
	stderr.Flush(patience)
	assert.True(t, strings.HasSuffix(read.String(), fmt.Sprintf("\n%d\n", messagesQueued-1)), read.String())
}

// deaf makes stderr take nothing, in each way in which a process can be given one.
func deaf(t *testing.T) map[string]func(*exec.Cmd) {
	t.Helper()
	_, full := fullPipe(t)
	r, readerGone, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	t.Cleanup(func() { _ = readerGone.Close() })
	return map[string]func(*exec.Cmd){
		"full and unread": func(cmd *exec.Cmd) { cmd.Stderr = full },
		"reader gone":     func(cmd *exec.Cmd) { cmd.Stderr = readerGone },
		"closed":          inShell(`exec "$0" 2>&-`),
	}
}

// Each truncation is a message.
func TestDeafStderrHoldsNothingUp(t *testing.T) {
	for name, deafen := range deaf(t) {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "POLL_INTERVAL=10ms")
			sc := s.startMute(t, deafen)
			sc.read()
			for i := range 5 {
				s.write(t, numbered(i, i+1))
				sc.printsNumbered(t, i+1)
				require.NoError(t, os.Truncate(s.log, 0))
				eventually(t, "it sees the truncation", func() bool { return sc.metric(t, "truncations_total") == float64(i+1) })
			}
			sc.stop(t)
		})
	}
}

func TestDeafStderrLeavesTheExitCode(t *testing.T) {
	for name, deafen := range deaf(t) {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, 1, newSite(t, "MAX_LINE_BYTES=0").startPiped(t, deafen).exits(t))
		})
	}
}
