package main

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
			address := startForBenchmark(b, log)
			b.SetParallelism(16)
			b.RunParallel(func(requests *testing.PB) {
				conn, err := net.Dial("tcp", address)
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
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

func startForBenchmark(b *testing.B, log string) (address string) {
	b.Helper()
	server := exec.Command(os.Args[0])
	server.Env = []string{asServer + "=" + log, "LOG_PATH=" + filepath.Join(b.TempDir(), "access.log")}
	stdout, err := server.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, server.Start())
	b.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	address, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(b, err)
	return address[:len(address)-1]
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
	_, _ = os.Stdout.WriteString(listener.Addr().String() + "\n")
	panic(newServer(handler, stderr).Serve(listener))
}
