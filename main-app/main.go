// Command main-app is the application of the Pod: an HTTP server that appends
// one JSON line per request to a log file. It stands for any app that logs to a
// file, and knows nothing about log shipping.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"sidecar.example/main-app/internal/logfile"
)

// version is stamped by the linker from the module's VERSION file.
var version = "dev"

const usage = `Usage: main-app [-help | -version]

Serves HTTP and appends one JSON line per request to a log file. Environment variables:

%s`

// errUsage is returned for an invalid command line: exit code 2.
var errUsage = errors.New("usage")

func main() {
	// A stderr without a reader ends a process by SIGPIPE, and scripts that rotate logs
	// like to send the others, of which the default is the same.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGUSR1)
	ctx, abort := untilSignals()
	stderr := newLossyWriter(os.Stderr)
	code := 0
	switch err := run(ctx, abort, os.Args[1:], os.LookupEnv, os.Stdout, stderr); {
	case err == nil:
	case errors.Is(err, errUsage):
		code = 2
	default:
		slog.New(slog.NewJSONHandler(stderr, nil)).Error(err.Error())
		code = 1
	}
	stderr.Flush(time.Second)
	os.Exit(code)
}

// untilSignals returns a context that is done at the first SIGTERM or SIGINT, and one that
// is done at the second. One channel takes both: what comes while the first is being acted
// on must not be lost.
func untilSignals() (first, second context.Context) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	first, endFirst := context.WithCancel(context.Background())
	second, endSecond := context.WithCancel(context.Background())
	go func() {
		<-signals
		endFirst()
		<-signals
		endSecond()
	}()
	return first, second
}

// run serves until ctx is done, then drains until abort is done. Stdout is used only by
// -help and -version; diagnostics go to stderr as JSON.
func run(ctx, abort context.Context, args []string, lookupEnv func(string) (string, bool), stdout, stderr io.Writer) error {
	env := &environment{lookup: lookupEnv}
	cfg := readConfig(env)
	switch arg := strings.Join(args, " "); {
	case len(args) == 0:
	case arg == "-version", arg == "--version":
		_, err := fmt.Fprintln(stdout, "main-app", version)
		return err
	case arg == "-help", arg == "--help", arg == "-h":
		_, err := fmt.Fprintf(stdout, usage, env.help)
		return err
	default:
		fmt.Fprintf(stderr, "unknown argument: %s\n"+usage, arg, env.help)
		return errUsage
	}
	if env.err != nil {
		return env.err
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))

	file, err := logfile.Open(cfg.logPath, int64(cfg.logMaxBytes), cfg.logMaxFiles)
	if err != nil {
		return fmt.Errorf("LOG_PATH=%s: %w: want a file and a directory that can be written", cfg.logPath, err)
	}
	access := &accessLog{file: file, log: log}
	defer access.close()
	listener, err := net.Listen("tcp", cfg.listenAddr)
	if err != nil {
		return fmt.Errorf("LISTEN_ADDR=%s: %w: want a free address on this machine", cfg.listenAddr, err)
	}
	log.Info("serving", "version", version, "address", listener.Addr().String(), "log", cfg.logPath)
	return serve(ctx, abort, listener, newApp(access), cfg, log)
}

// serve answers requests until ctx is done, then drains in the two steps that let a
// Pod leave a Service without failing a request: it keeps serving, no longer ready,
// until the endpoints have dropped the Pod; then it accepts no new connections and
// finishes the requests in flight. Both steps are cut short once abort is done.
func serve(ctx, abort context.Context, listener net.Listener, app *app, cfg config, log *slog.Logger) error {
	server := newServer(app, log)
	server.ConnState = app.clients.track
	defer server.Close() // cuts off requests that the drain has not finished
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	select {
	case err := <-served:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	log.Info("draining", "delay", cfg.shutdownDelay.String(), "timeout", cfg.shutdownTimeout.String())
	app.draining.Store(true)
	select {
	case <-time.After(cfg.shutdownDelay):
	case <-abort.Done():
	}
	deadline, cancel := context.WithTimeout(abort, cfg.shutdownTimeout)
	defer cancel()
	err := server.Shutdown(deadline)
	if abort.Err() != nil {
		return errors.New("ended by a second signal")
	}
	inFlight := app.clients.inFlight()
	// An error alone loses no request: Shutdown also waits for connections, up to five
	// seconds old, on which none has arrived.
	if err != nil && inFlight > 0 {
		return fmt.Errorf("requests cut off in flight: %d: %w", inFlight, err)
	}
	log.Info("stopped")
	return nil
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:                      handler,
		ReadHeaderTimeout:            10 * time.Second,
		ReadTimeout:                  30 * time.Second, // a body that never arrives must not hold a connection for good,
		WriteTimeout:                 40 * time.Second, // nor must a client that never reads; but the former gets its answer
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               16 << 10, // with maxConnections this and the next bound the memory
		MaxHeaderValueCount:          100,
		DisableGeneralOptionsHandler: true, // OPTIONS * is a request like any other
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
