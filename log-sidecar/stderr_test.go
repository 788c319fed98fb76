package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fullPipe returns a pipe into which nothing more goes until it is read.
func fullPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	raw, err := w.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Write(func(fd uintptr) bool {
		for err == nil {
			_, err = syscall.Write(int(fd), bytes.Repeat([]byte("\n"), 4096))
		}
		return true
	}))
	require.ErrorIs(t, err, syscall.EAGAIN)
	return r, w
}

func TestMessagesOfBlockedStderrAreCounted(t *testing.T) {
	r, pipe := fullPipe(t)
	const written = 10 * messagesQueued
	stderr := newLossyWriter(writerFunc(func(message []byte) (int, error) {
		time.Sleep(time.Millisecond) // a Flush that did not wait would be over before
		return pipe.Write(message)
	}))
	for i := range written {
		fmt.Fprintf(stderr, "message %d\n", i)
	}
	stderr.Flush(time.Millisecond) // gives up: nobody reads

	var read output
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&read, r) })
	stderr.Flush(patience) // waits until all is written
	require.NoError(t, pipe.Close())
	reading.Wait()
	got := strings.Count(read.String(), "message ")
	for _, m := range read.messages("dropped") {
		got += m.Count
	}
	assert.Equal(t, written, got, "every message, or its count")
	assert.Contains(t, read.String(), "message 0\n")
	assert.NotContains(t, read.String(), fmt.Sprintf("message %d\n", written-1), "dropped")
}

// In each way in which a process can be given a stderr that takes nothing.
func TestDeafStderrHoldsNothingUp(t *testing.T) {
	_, full := fullPipe(t)
	r, readerGone := fullPipe(t)
	require.NoError(t, r.Close())
	for name, deafen := range map[string]func(*exec.Cmd){
		"full and unread": func(cmd *exec.Cmd) { cmd.Stderr = full },
		"reader gone":     func(cmd *exec.Cmd) { cmd.Stderr = readerGone },
		"closed":          inShell(`exec "$0" 2>&-`),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "POLL_INTERVAL=10ms", "LISTEN_ADDR="+freePort(t)) // it has no way to say which
			sc := s.launch(t, deafen)
			sc.read()
			sc.address = s.env["LISTEN_ADDR"]
			eventually(t, "serving", func() bool { return get("http://"+sc.address+"/metrics") == nil })
			for i := range 5 { // each truncation is a message
				s.write(t, numbered(i, i+1))
				sc.printsNumbered(t, i+1)
				require.NoError(t, os.Truncate(s.log, 0))
				eventually(t, "it sees the truncation", func() bool { return sc.metric(t, "truncations_total") == float64(i+1) })
			}
			sc.stop(t)
			s.set("MAX_LINE_BYTES=0")
			assert.Equal(t, 1, s.launch(t, deafen).exits(t), "an error still has its exit code")
		})
	}
}

func TestRepeatedMessagesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(&limitedHandler{Handler: slog.NewTextHandler(&out, nil)})
		for i := range 2 * messagesAtOnce {
			log.Info("again", "n", i)
		}
		log.Info("another")
		assert.Equal(t, messagesAtOnce, strings.Count(out.String(), "msg=again"))
		assert.Equal(t, 1, strings.Count(out.String(), "msg=another"))
		assert.NotContains(t, out.String(), "not_shown")

		time.Sleep(limitInterval) // of the bubble's clock
		log.Info("again")
		log.Info("another")
		assert.Equal(t, messagesAtOnce+1, strings.Count(out.String(), "msg=again"))
		assert.Contains(t, out.String(), "not_shown=10")
		assert.Equal(t, 1, strings.Count(out.String(), "not_shown"))
	})
}
