package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

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
