package main

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

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

// maxValue bounds method and path in the log, in bytes as requested: a client must not
// fill the disk with a few requests. Escaped, a byte takes up to six, and only in a path;
// so a line stays below the 16 KiB at which much that reads logs begins to split them.
const maxValue = 2048

// appendString appends s as a JSON string, escaping no more than it must, so that a
// path can be searched for as it was requested. One that was cut ends in "…".
func appendString(dst []byte, s string) []byte {
	if len(s) > maxValue {
		cut := maxValue
		for i := cut; i > cut-utf8.UTFMax; i-- {
			if utf8.RuneStart(s[i]) { // else these bytes belong to no character
				cut = i
				break
			}
		}
		s = s[:cut] + "…"
	}
	quoted, _ := jsontext.AppendQuote(dst, s) // the error says that invalid UTF-8 became U+FFFD
	if !bytes.ContainsFunc(quoted[len(dst):], unicode.IsControl) {
		return quoted
	}
	// JSON allows DEL and U+0080 to U+009F as they are, and a terminal would obey them.
	for _, r := range string(quoted[len(dst):]) {
		if unicode.IsControl(r) {
			dst = fmt.Appendf(dst, `\u%04x`, r)
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
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
