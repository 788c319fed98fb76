package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRepeatedMessagesAreLimited(t *testing.T) {
	h := &limitedHandler{}
	now := time.Now()
	for i := range 100 {
		_, ok := h.admit("the log was truncated", now.Add(time.Duration(i)*time.Millisecond))
		assert.Equal(t, i < messagesAtOnce, ok)
	}
	dropped, ok := h.admit("stopped", now)
	assert.True(t, ok, "another message")
	assert.Zero(t, dropped)
	dropped, ok = h.admit("the log was truncated", now.Add(limitInterval))
	assert.True(t, ok)
	assert.Equal(t, 100-messagesAtOnce, dropped)
}

func TestLimitedMessageSaysHowManyWere(t *testing.T) {
	var out bytes.Buffer
	h := &limitedHandler{Handler: slog.NewTextHandler(&out, nil)}
	log := slog.New(h)
	for range 2 * messagesAtOnce {
		log.Info("again")
	}
	assert.Equal(t, messagesAtOnce, strings.Count(out.String(), "again"))
	h.said["again"].since = time.Now().Add(-limitInterval)
	log.Info("again")
	assert.Contains(t, out.String(), "not_shown=10")
}
