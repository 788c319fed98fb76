package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var promisedLine = regexp.MustCompile(`^\{"timestamp":"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z","method":"[^"\\]+","path":"([^"\\]|\\.)*","status":[0-9]{3}\}\n$`)

// FuzzServer sends any bytes over a connection: the server goes on serving, and
// whatever it logs is a line as promised.
func FuzzServer(f *testing.F) {
	for _, sent := range []string{
		"", "\n", "\x00\xff", "GET", "GET / HTTP/1.0\n\n", "GET / HTTP/9.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GET /%00%7f%c2%9b%ff\" HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
		"GET http://[::1]:x/ HTTP/1.1\r\nHost: \r\n\r\n", strings.Repeat("A", 20<<10) + " / HTTP/1.1\r\nHost: x\r\n\r\n",
		strings.Repeat("A", 9<<10) + " /" + strings.Repeat("%01", 2<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		f.Add([]byte(sent))
	}
	app := start(f)
	f.Fuzz(func(t *testing.T, sent []byte) {
		require.NoError(t, os.Truncate(app.log, 0))
		conn := app.dial(t)
		_, err := conn.Write(sent)
		if err == nil { // or it has had enough before the end
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		_, err = io.Copy(io.Discard, conn)
		assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it ends the connection")

		alive, _ := app.get(t, "/healthz")
		assert.Equal(t, http.StatusOK, alive.StatusCode)
		log, err := os.ReadFile(app.log)
		require.NoError(t, err)
		for line := range strings.Lines(string(log)) {
			assert.True(t, json.Valid([]byte(line)), "%q", line)
			assert.Regexp(t, promisedLine, line)
			assert.Less(t, len(line), 16<<10)
		}
	})
}
