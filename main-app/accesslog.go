package main

import (
	"context"
	"encoding/json/jsontext"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"sidecar.example/main-app/internal/logfile"
)

// How often write failures are reported: a full disk under load must not flood stderr
// too, whether it stays full or still takes every other line.
const (
	outageInterval = 10 * time.Second // while an outage lasts
	reportInterval = time.Second      // while failures come and go
)

// accessLog writes a line per request. A line that cannot be written does not fail
// its request; it is counted, and the count is reported on stderr.
type accessLog struct {
	file *logfile.File
	log  *slog.Logger

	mu           sync.Mutex // protects following
	lost         int64      // lines lost since the start
	failing      bool
	reported     time.Time
	reportedLost int64 // value of lost in the last report
}

func (a *accessLog) record(r *http.Request, status int) {
	var buf [512]byte // on the stack; a longer line moves to the heap
	a.account(a.file.Append(appendLine(buf[:0], time.Now(), r.Method, r.URL.Path, status)))
}

// appendLine appends the line for one request to dst.
func appendLine(dst []byte, now time.Time, method, path string, status int) []byte {
	dst = append(dst, `{"timestamp":"`...)
	dst = now.UTC().AppendFormat(dst, time.RFC3339)
	dst = append(dst, `","method":`...)
	dst = appendString(dst, method)
	dst = append(dst, `,"path":`...)
	dst = appendString(dst, path)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	return append(dst, "}\n"...)
}

// appendString appends s as a JSON string, escaping no more than JSON asks for, so that
// a path can be searched for as it was requested.
func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // the error says that invalid UTF-8 became U+FFFD
	return dst
}

// account reports when lines start being lost, at intervals while they are, and when
// they are written again. Each message counts the lines lost since the start, so the
// last one is the total.
func (a *accessLog) account(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.lost++
		wait := reportInterval
		if a.failing {
			wait = outageInterval
		}
		if time.Since(a.reported) >= wait {
			a.failing = true
			a.report(slog.LevelError, "access log cannot be written: lines are being lost", "error", err.Error())
		}
		return
	}
	if a.failing || a.lost > a.reportedLost && time.Since(a.reported) >= reportInterval {
		a.failing = false
		a.report(slog.LevelInfo, "access log is being written again")
	}
}

func (a *accessLog) report(level slog.Level, message string, args ...any) {
	a.reported, a.reportedLost = time.Now(), a.lost
	a.log.Log(context.Background(), level, message, append(args, "lines_lost", a.lost)...)
}

// close closes the file and reports lost lines not reported so far.
func (a *accessLog) close() {
	err := a.file.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.log.Error("close access log", "error", err.Error())
	}
	if a.lost > a.reportedLost {
		a.report(slog.LevelError, "access log could not be written: lines were lost")
	}
}
