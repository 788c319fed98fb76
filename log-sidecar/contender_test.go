package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A contender is a program that prints the lines of a file. In what it is started
// with, $LOG stands for that file and $STATE for a directory of its own. Each has the
// settings that its documentation recommends for losing nothing. (Those of Fluent Bit,
// Vector and Filebeat have not been tried with the real programs.)
type contender struct {
	name    string
	follows bool   // else it reads and ends
	version string // the argument that prints it; without one it is not compared
	argv    []string
	env     []string
	conf    string // content of $STATE/conf
}

// asNaiveTailer makes the test binary the naive tailer of the file that it names.
const asNaiveTailer = "TEST_AS_NAIVE_TAILER"

// contenders returns the sidecar, and after it those others that are installed; and
// those that are not.
func contenders(tb testing.TB) (installed, missing []contender) {
	self, err := os.Executable()
	require.NoError(tb, err)
	collector := "otelcol-contrib"
	if _, err := exec.LookPath(collector); err != nil {
		collector = "otelcol"
	}
	for _, c := range []contender{
		{
			name: "log-sidecar", follows: true, version: "-version", argv: []string{binary},
			env: []string{
				"LOG_PATH=$LOG", "STATE_DIR=$STATE", "LISTEN_ADDR=127.0.0.1:0", "APP_HEALTH_URL=",
				"MAX_LINE_BYTES=4194304",
			},
		},
		{name: "cat", argv: []string{"cat", "$LOG"}},
		{ // keeps no state: a restart prints the file again, and none that was rotated
			name: "tail", follows: true, version: "--version", argv: []string{"tail", "-n", "+1", "-F", "$LOG"},
		},
		{name: "naive", follows: true, argv: []string{self}, env: []string{asNaiveTailer + "=$LOG"}},
		{
			name: "jq", follows: true,
			argv: []string{"jq", "-c", "--unbuffered", `{raw: ., host: "h", processed_at: (now | todate)}`},
		},
		{
			// Without the * it loses what is renamed quickly or while it is down; with it, it
			// prints renamed files again.
			name: "rsyslog", follows: true, version: "-v",
			argv: []string{"rsyslogd", "-n", "-f", "$STATE/conf", "-i", "$STATE/pid"},
			conf: `
global(workDirectory="$STATE" maxMessageSize="4m")
main_queue(queue.type="Direct")
module(load="imfile" mode="inotify")
module(load="mmjsonparse")
template(name="record" type="string" string="{\"raw\":%msg%,\"host\":\"%hostname%\",\"processed_at\":\"%timegenerated:::date-rfc3339%\"}\n")
input(type="imfile" File="$LOG*" Tag="app" ruleset="app" reopenOnTruncate="on" persistStateAfterSubmission="on")
ruleset(name="app") {
	action(type="mmjsonparse" cookie="")
	action(type="omfile" file="/dev/stdout" template="record")
}
`,
		},
		{ // its documentation wants no rotated files in path, or they would be read again
			name: "fluent-bit", follows: true, version: "--version",
			argv: []string{
				"fluent-bit", "-q", "-f", "0.1", "-i", "tail", "-p", "path=$LOG", "-p", "read_from_head=true",
				"-p", "db=$STATE/db", "-p", "db.sync=full", "-p", "rotate_wait=60", "-p", "refresh_interval=1",
				"-p", "buffer_max_size=8M", "-p", "skip_long_lines=on", "-o", "stdout", "-p", "format=json_lines",
			},
		},
		{
			name: "otelcol", follows: true, version: "--version", argv: []string{collector, "--config", "$STATE/conf"},
			conf: `
extensions:
  file_storage: {directory: $STATE, fsync: true}
receivers:
  file_log:
    include: ["$LOG*"]
    start_at: beginning
    storage: file_storage
    max_log_size: 4MiB
    force_flush_period: 0s
    retry_on_failure: {enabled: true}
exporters:
  file: {path: /dev/stdout, append: true, flush_interval: 100ms}
service:
  extensions: [file_storage]
  pipelines:
    logs: {receivers: [file_log], exporters: [file]}
  telemetry:
    metrics: {level: none}
`,
		},
		{
			name: "vector", follows: true, version: "--version", argv: []string{"vector", "--quiet", "--config-yaml", "$STATE/conf"},
			conf: `
data_dir: $STATE
acknowledgements: {enabled: true}
sources:
  log:
    type: file
    include: ["$LOG*"]
    read_from: beginning
    max_line_bytes: 4194304
    glob_minimum_cooldown_ms: 100
sinks:
  stdout: {type: console, inputs: [log], encoding: {codec: json}}
`,
		},
		{
			name: "filebeat", follows: true, version: "version",
			argv: []string{"filebeat", "--strict.perms=false", "--path.data", "$STATE/data", "--path.logs", "$STATE", "-c", "$STATE/conf"},
			conf: `
filebeat.inputs:
  - type: filestream
    id: app
    paths: ["$LOG*"]
    file_identity.native: ~
    prospector.scanner.fingerprint.enabled: false
    prospector.scanner.check_interval: 1s
    backoff.max: 1s
filebeat.registry.flush: 0s
queue.mem.flush.timeout: 0.1s
output.console: {enabled: true}
`,
		},
	} {
		if _, err := exec.LookPath(c.argv[0]); err != nil {
			missing = append(missing, c)
			continue
		}
		if c.name == "jq" { // which follows nothing by itself
			script := `tail -n +1 -F "$LOG" | "$0" "$@"`
			c.name, c.argv = "tail+jq", append([]string{"sh", "-c", script}, c.argv...)
		}
		installed = append(installed, c)
	}
	return installed, missing
}

func followers(tb testing.TB) (all []contender) {
	installed, _ := contenders(tb)
	for _, c := range installed {
		if c.follows {
			all = append(all, c)
		}
	}
	return all
}

// A process is a contender at work, with the processes it has started.
type process struct {
	cmd    *exec.Cmd
	stdout *os.File       // the end of a pipe that the test reads
	lines  *bufio.Scanner // of stdout
}

// start starts the contender on the log at path, with what it has kept in state.
func (c contender) start(tb testing.TB, path, state string) *process {
	tb.Helper()
	here := strings.NewReplacer("$LOG", path, "$STATE", state)
	var argv []string
	for _, arg := range c.argv {
		argv = append(argv, here.Replace(arg))
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = os.Environ()
	for _, variable := range c.env {
		cmd.Env = append(cmd.Env, here.Replace(variable))
	}
	require.NoError(tb, os.WriteFile(filepath.Join(state, "conf"), []byte(here.Replace(c.conf)), 0o600))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, write, err := os.Pipe()
	require.NoError(tb, err)
	defer write.Close()
	cmd.Stdout = write
	require.NoError(tb, cmd.Start())
	p := &process{cmd, stdout, newLineScanner(stdout)}
	tb.Cleanup(func() { p.stop() })
	return p
}

// follow starts the contender on a new log with one line, which it has printed when
// this returns.
func (c contender) follow(b *testing.B) (*process, accessLog) {
	b.Helper()
	file, err := os.OpenFile(filepath.Join(b.TempDir(), "access.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	require.NoError(b, err)
	b.Cleanup(func() { _ = file.Close() })
	log := accessLog{file}
	log.lines(b, 1)
	p := c.start(b, file.Name(), b.TempDir())
	p.awaitLines(b, 1)
	return p, log
}

// lineFormat makes access lines. The path carries the time, so that a reader can tell
// how long the line took, and what tells one line from another.
const (
	lineFormat = lineBegin + `"2026-11-22T15:43:51Z","method":"GET","path":"/%019d/%s","status"` + lineEnd + "\n"
	lineBegin  = `{"timestamp":`
	lineEnd    = `:200}`
)

// newLineScanner cuts what a contender prints behind each line that it carries, whatever
// stands around it: some print many lines in one record. Backslashes are left out, for
// some carry the line as a JSON string.
func newLineScanner(stdout io.Reader) *bufio.Scanner {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 256<<10), 64<<20)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		end := len(data)
		if i := bytes.Index(data, []byte(lineEnd)); i >= 0 {
			end = i + len(lineEnd)
		} else if !atEOF || end == 0 {
			return 0, nil, nil
		}
		return end, bytes.ReplaceAll(data[:end], []byte{'\\'}, nil), nil
	})
	return lines
}

// awaitLine reads a line, if one comes in time.
func (p *process) awaitLine() (line []byte, ok bool) {
	_ = p.stdout.SetReadDeadline(time.Now().Add(patience)) // a pipe always takes one
	ok = p.lines.Scan() && bytes.HasSuffix(p.lines.Bytes(), []byte(lineEnd))
	return p.lines.Bytes(), ok
}

// awaitLines reads until n lines have come.
func (p *process) awaitLines(b *testing.B, n int) {
	b.Helper()
	for got := range n {
		_, ok := p.awaitLine()
		require.True(b, ok, "after %d of %d lines", got, n)
	}
}

// stop ends the process and returns the CPU time it has taken in all.
func (p *process) stop() time.Duration {
	if p.cmd.ProcessState != nil {
		return 0
	}
	cpu := p.cpu() // of a pipeline's parts, which no one may have waited for
	p.end(syscall.SIGTERM, 3*time.Second)
	_ = p.stdout.Close()
	return max(cpu, p.cmd.ProcessState.UserTime()+p.cmd.ProcessState.SystemTime())
}

// end sends a signal, and waits for the end. Who takes longer than grace is killed.
func (p *process) end(signal syscall.Signal, grace time.Duration) {
	_ = syscall.Kill(-p.cmd.Process.Pid, signal)
	kill := time.AfterFunc(grace, func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	defer kill.Stop()
	_ = p.cmd.Wait() // killed, it says
}

// pids are the process and its descendants.
func (p *process) pids() []int {
	pids := []int{p.cmd.Process.Pid}
	for i := 0; i < len(pids); i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for field := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(field); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// sum adds up the number behind name in a file below /proc/PID of each process.
func (p *process) sum(pattern, name string) (total float64) {
	for _, pid := range p.pids() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/%s", pid, pattern))
		for _, file := range files {
			text, _ := os.ReadFile(file)
			_, after, _ := strings.Cut(string(text), name)
			if fields := strings.Fields(after); len(fields) > 0 {
				n, _ := strconv.ParseFloat(fields[0], 64)
				total += n
			}
		}
	}
	return total
}

// cpu is the time on a CPU so far; the scheduler counts it in nanoseconds.
func (p *process) cpu() time.Duration { return time.Duration(p.sum("task/*/schedstat", "")) }

func (p *process) switches() int {
	const file = "task/*/status"
	return int(p.sum(file, "\nvoluntary_ctxt_switches:") + p.sum(file, "nonvoluntary_ctxt_switches:"))
}

// peak is the largest resident set so far, in MiB.
func (p *process) peak() float64 { return p.sum("status", "VmHWM:") / 1024 }

// pss is the proportional set size, in MiB: shared pages count once for all.
func (p *process) pss() float64 { return p.sum("smaps_rollup", "\nPss:") / 1024 }

// naiveTail is the tailer that one writes first: it polls, and asks encoding/json.
func naiveTail(path string) {
	f, err := os.Open(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	host, _ := os.Hostname()
	var rest []byte
	chunk := make([]byte, 64<<10)
	for {
		n, _ := f.Read(chunk)
		if n == 0 {
			time.Sleep(500 * time.Millisecond)
			continue
		}
		rest = append(rest, chunk[:n]...)
		for {
			line, after, ok := bytes.Cut(rest, []byte{'\n'})
			if !ok {
				break
			}
			record := map[string]any{"host": host, "processed_at": time.Now().UTC().Format(time.RFC3339), "raw": string(line)}
			if json.Valid(line) {
				record["raw"] = json.RawMessage(line)
			}
			out, _ := json.Marshal(record)
			if _, err := os.Stdout.Write(append(out, '\n')); err != nil {
				os.Exit(1)
			}
			rest = after
		}
	}
}
