package main

import (
	"bytes"
	"encoding/json"
	"fmt"
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
// with, $LOG stands for that file and $STATE for a directory of its own.
type contender struct {
	name    string
	follows bool // else it reads and ends
	argv    []string
	env     []string
	conf    string // content of $STATE/conf
}

// asNaiveTailer makes the test binary the naive tailer of the file that it names.
const asNaiveTailer = "TEST_AS_NAIVE_TAILER"

// contenders returns the sidecar, and after it those others that are installed.
func contenders(b *testing.B) (all []contender) {
	self, err := os.Executable()
	require.NoError(b, err)
	for _, c := range []contender{
		{
			name: "log-sidecar", follows: true, argv: []string{binary},
			env: []string{"LOG_PATH=$LOG", "STATE_DIR=$STATE", "LISTEN_ADDR=127.0.0.1:0", "APP_HEALTH_URL="},
		},
		{name: "cat", argv: []string{"cat", "$LOG"}},
		{name: "tail", follows: true, argv: []string{"tail", "-n", "+1", "-F", "$LOG"}},
		{name: "naive", follows: true, argv: []string{self}, env: []string{asNaiveTailer + "=$LOG"}},
		{
			name: "jq", follows: true,
			argv: []string{"jq", "-c", "--unbuffered", `{raw: ., host: "h", processed_at: (now | todate)}`},
		},
		{
			name: "rsyslog", follows: true, argv: []string{"rsyslogd", "-n", "-f", "$STATE/conf", "-i", "$STATE/pid"},
			conf: `
global(workDirectory="$STATE")
module(load="imfile" mode="inotify")
module(load="mmjsonparse")
template(name="record" type="string" string="{\"raw\":%msg%,\"host\":\"%hostname%\",\"processed_at\":\"%timegenerated:::date-rfc3339%\"}\n")
input(type="imfile" File="$LOG" Tag="app" ruleset="app")
ruleset(name="app") {
	action(type="mmjsonparse" cookie="")
	action(type="omfile" file="/dev/stdout" template="record")
}
`,
		},
		{
			name: "fluent-bit", follows: true,
			argv: []string{
				"fluent-bit", "-q", "-f", "0.1", "-i", "tail", "-p", "path=$LOG", "-p", "read_from_head=true",
				"-p", "db=$STATE/db", "-o", "stdout", "-p", "format=json_lines",
			},
		},
	} {
		if _, err := exec.LookPath(c.argv[0]); err != nil {
			continue
		}
		if c.name == "jq" { // which follows nothing by itself
			script := `tail -n +1 -F "$LOG" | "$0" "$@"`
			c.name, c.argv = "tail+jq", append([]string{"sh", "-c", script}, c.argv...)
		}
		all = append(all, c)
	}
	return all
}

func followers(b *testing.B) (all []contender) {
	for _, c := range contenders(b) {
		if c.follows {
			all = append(all, c)
		}
	}
	return all
}

// A process is a contender at work, with the processes it has started.
type process struct {
	cmd    *exec.Cmd
	stdout *os.File // the end of a pipe that the benchmark reads
}

// start starts the contender on the log at path.
func (c contender) start(b *testing.B, path string) *process {
	b.Helper()
	state := b.TempDir()
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
	require.NoError(b, os.WriteFile(filepath.Join(state, "conf"), []byte(here.Replace(c.conf)), 0o600))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, write, err := os.Pipe()
	require.NoError(b, err)
	defer write.Close()
	cmd.Stdout = write
	require.NoError(b, cmd.Start())
	p := &process{cmd, stdout}
	b.Cleanup(func() { p.stop() })
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
	p := c.start(b, file.Name())
	p.awaitLines(b, 1)
	return p, log
}

// awaitLines reads until n lines have come.
func (p *process) awaitLines(b *testing.B, n int) {
	b.Helper()
	buf := make([]byte, 256<<10)
	for got := 0; got < n; {
		_ = p.stdout.SetReadDeadline(time.Now().Add(patience)) // a pipe always takes one
		m, err := p.stdout.Read(buf)
		got += bytes.Count(buf[:m], []byte{'\n'})
		require.NoError(b, err, "after %d of %d lines", got, n)
	}
}

// stop ends the process and returns the CPU time it has taken in all.
func (p *process) stop() time.Duration {
	if p.cmd.ProcessState != nil {
		return 0
	}
	cpu := p.cpu() // of a pipeline's parts, which no one may have waited for
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	kill := time.AfterFunc(3*time.Second, func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	defer kill.Stop()
	_ = p.cmd.Wait() // killed, it says
	_ = p.stdout.Close()
	return max(cpu, p.cmd.ProcessState.UserTime()+p.cmd.ProcessState.SystemTime())
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
