package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"sidecar.example/log-sidecar/internal/record"
	"sidecar.example/log-sidecar/internal/tail"
)

const (
	// blockedAfter is how long a write to stdout may take before it counts as blocked.
	blockedAfter = time.Second

	// stuckAfter is how long the tail loop may be silent beyond its longest sleep.
	stuckAfter = 10 * time.Second
)

// routes answers /health and /metrics.
type routes struct {
	cfg     *config
	tailer  *tail.Tailer
	printer *record.Printer
}

func (r *routes) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", r.health)
	mux.HandleFunc("GET /metrics", r.metrics)
	return mux
}

// report is the body of /health.
type report struct {
	Status         string     `json:"status"`
	Reasons        []string   `json:"reasons,omitempty"` // why Status is not healthy
	LinesProcessed int64      `json:"lines_processed"`
	App            string     `json:"app"`            // healthy, failing or unchecked
	File           string     `json:"file"`           // the live one: missing, open or failing
	Held           []string   `json:"held,omitempty"` // rotated files that are still written to
	Stdout         string     `json:"stdout"`         // open or blocked
	Watch          string     `json:"watch"`          // inotify or poll
	LagBytes       int64      `json:"lag_bytes"`      // in the log and not yet printed
	LastLineAt     *time.Time `json:"last_line_at"`
	Version        string     `json:"version"`
}

// health answers 503, on which the kubelet restarts the sidecar, only if that would help.
func (r *routes) health(w http.ResponseWriter, _ *http.Request) {
	body := r.report(r.tailer.Status())
	w.Header().Set("Content-Type", "application/json")
	if body.Status == unhealthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

// States of the sidecar.
const (
	healthy   = "healthy"
	degraded  = "degraded"  // something is wrong that a restart of the sidecar would not mend
	unhealthy = "unhealthy" // a restart would help
)

// report tells what is wrong, if anything is. That the app fails, that stdout is not being
// read or that the log does not exist yet is nothing that a restart would mend.
func (r *routes) report(status tail.Status) report {
	body := report{
		Status:         healthy,
		LinesProcessed: status.Lines,
		App:            "unchecked",
		File:           status.File,
		Held:           status.Held,
		Stdout:         "open",
		Watch:          "inotify",
		LagBytes:       status.Lag,
		Version:        version,
	}
	wrong := func(format string, args ...any) {
		body.Status = degraded
		body.Reasons = append(body.Reasons, fmt.Sprintf(format, args...))
	}
	if r.cfg.app != nil {
		body.App = healthy
		if err := r.cfg.app.Check(); err != nil {
			body.App = "failing"
			wrong("app: %v", err)
		}
	}
	if status.File == "missing" {
		wrong("file: %s does not exist", r.cfg.logPath)
	}
	for _, trouble := range status.Troubles {
		wrong("file: %s", trouble)
	}
	blocked := r.printer.Blocked()
	if blocked > blockedAfter {
		body.Stdout = "blocked"
		wrong("stdout: blocked for %s", blocked.Round(time.Second))
	}
	if status.Polling {
		body.Watch = "poll"
	}
	if !status.LastLine.IsZero() {
		body.LastLineAt = new(status.LastLine.UTC().Truncate(time.Millisecond))
	}
	if silent := time.Since(status.LastLook); blocked == 0 && silent > r.tailer.LongestWait()+stuckAfter {
		wrong("tail loop: silent for %s", silent.Round(time.Second))
		body.Status = unhealthy
	}
	return body
}

// metrics answers in the Prometheus text format.
func (r *routes) metrics(w http.ResponseWriter, _ *http.Request) {
	status := r.tailer.Status()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	for _, m := range []struct {
		name, kind, help string
		value            any
	}{
		{"lines_total", "counter", "Lines printed.", status.Lines},
		{"bytes_total", "counter", "Bytes of the log printed.", status.Bytes},
		{"lag_bytes", "gauge", "Bytes in the log that are not printed yet.", status.Lag},
		{"files", "gauge", "Files of the log that are open: the live one, and rotated ones that may be written to.", status.Followed},
		{"rotations_total", "counter", "Files printed to their end that are not the live one any more.", status.Rotations},
		{"truncations_total", "counter", "Times the log was found truncated.", status.Truncations},
		{"gaps_total", "counter", "Files that went before they were printed to their end, so that lines may be missing.", status.Gaps},
		{"gap_bytes_total", "counter", "Bytes in those files that were not printed, as far as known.", status.GapBytes},
		{"malformed_lines_total", "counter", "Lines that were not JSON and were printed as a string.", r.printer.Malformed()},
		{"split_lines_total", "counter", "Lines longer than MAX_LINE_BYTES, printed in pieces.", status.SplitLines},
		{"write_blocked_seconds_total", "counter", "Time spent in writes to stdout.", r.printer.Writing().Seconds()},
		{"degraded", "gauge", "1 while /health says anything but healthy.", boolean(r.report(status).Status != healthy)},
		{"polling", "gauge", "1 while file events are unavailable and the log is polled.", boolean(status.Polling)},
	} {
		fmt.Fprintf(w, "# HELP %[1]s %[2]s\n# TYPE %[1]s %[3]s\n%[1]s %[4]v\n", "log_sidecar_"+m.name, m.help, m.kind, m.value)
	}
	fmt.Fprintf(w, "# HELP %[1]s The version, as a label.\n# TYPE %[1]s gauge\n%[1]s{version=%[2]q} 1\n",
		"log_sidecar_build_info", version)
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
