package main

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"sidecar.example/main-app/internal/logfile"
)

// asServer makes the test binary a server: with no access log, with ours, or with
// one that opens its file for each line, as a naive app does.
const (
	asServer = "TEST_AS_SERVER"

	withoutLog  = "without log"
	withLog     = "with log"
	openPerLine = "file opened per line"
)

// BenchmarkServer is what the access log costs a request: a server in a process of
// its own, and 16 clients per CPU that ask again as soon as they have an answer.
func BenchmarkServer(b *testing.B) {
	for _, log := range []string{withoutLog, withLog, openPerLine} {
		b.Run(log, func(b *testing.B) {
			server := spawn(b, asServer+"="+log)
			b.SetParallelism(16)
			b.RunParallel(func(requests *testing.PB) {
				conn, err := net.Dial("tcp", server.address)
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				in := bufio.NewReader(conn)
				for requests.Next() {
					_, err := io.WriteString(conn, "GET /api/users HTTP/1.1\r\nHost: localhost\r\n\r\n")
					if err == nil {
						err = readAnswer(in)
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

func readAnswer(in *bufio.Reader) error {
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

func serveForBenchmark(log string) {
	path, stderr := os.Getenv("LOG_PATH"), slog.New(slog.NewJSONHandler(os.Stderr, nil))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	var handler http.HandlerFunc
	switch log {
	case withoutLog:
		handler = func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusOK, "Hello from main-app\n")
		}
	case withLog:
		file, err := logfile.Open(path, 16<<20, 8)
		if err != nil {
			panic(err)
		}
		handler = newApp(&accessLog{file: file, log: stderr}).ServeHTTP
	case openPerLine:
		handler = func(w http.ResponseWriter, r *http.Request) {
			answer(w, http.StatusOK, "Hello from main-app\n")
			file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
			if err != nil {
				panic(err)
			}
			defer file.Close()
			if _, err := file.Write(appendLine(nil, time.Now(), r.Method, r.URL.Path, http.StatusOK)); err != nil {
				panic(err)
			}
		}
	}
	stderr.Info("serving", "address", listener.Addr().String())
	panic(newServer(handler, stderr).Serve(listener))
}
