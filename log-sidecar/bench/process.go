package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A contender is a program that prints the lines of a file.
type contender struct {
	name    string
	live    bool // it follows; else it reads and ends
	command func(path string) (argv, env []string, err error)
}

func contenders() ([]contender, error) {
	binary, err := filepath.Abs(*sidecar)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w: build it first (make build)", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	shell := func(script string) func(string) ([]string, []string, error) {
		return func(path string) ([]string, []string, error) {
			return []string{"sh", "-c", script, "sh", path}, nil, nil
		}
	}
	all := []contender{
		{"log-sidecar", true, func(path string) ([]string, []string, error) {
			return []string{binary}, []string{
				"LOG_PATH=" + path, "STATE_DIR=" + filepath.Join(filepath.Dir(path), "state"),
				"LISTEN_ADDR=127.0.0.1:0", "APP_HEALTH_URL=",
			}, nil
		}},
		{"cat", false, shell(`exec cat "$1"`)},
		{"tail -F", true, shell(`exec tail -n +1 -F "$1"`)},
		{"naive tailer", true, func(path string) ([]string, []string, error) {
			return []string{self, "-naive", path}, nil, nil
		}},
	}
	if _, err := exec.LookPath("jq"); err == nil {
		all = append(all, contender{"tail -F piped to jq", true, shell(`tail -n +1 -F "$1" | jq -c --unbuffered '{raw: ., host: "h", processed_at: (now | todate)}'`)})
	}
	if rsyslogd, err := exec.LookPath("rsyslogd"); err == nil {
		all = append(all, contender{"rsyslog", true, func(path string) ([]string, []string, error) {
			state := filepath.Join(filepath.Dir(path), "state")
			conf := filepath.Join(state, "rsyslog.conf")
			return []string{rsyslogd, "-n", "-f", conf, "-i", filepath.Join(state, "pid")}, nil, os.WriteFile(conf, fmt.Appendf(nil, `
global(workDirectory="%s")
module(load="imfile" mode="inotify")
module(load="mmjsonparse")
template(name="record" type="string" string="{\"raw\":%%msg%%,\"host\":\"%%hostname%%\",\"processed_at\":\"%%timegenerated:::date-rfc3339%%\"}\n")
input(type="imfile" File="%s" Tag="app" ruleset="app")
ruleset(name="app") {
	action(type="mmjsonparse" cookie="")
	action(type="omfile" file="/dev/stdout" template="record")
}
`, state, path), 0o644)
		}})
	}
	if fluentBit, err := exec.LookPath("fluent-bit"); err == nil {
		all = append(all, contender{"fluent-bit", true, func(path string) ([]string, []string, error) {
			return []string{
				fluentBit, "-q", "-f", "0.1", "-i", "tail", "-p", "path=" + path, "-p", "read_from_head=true",
				"-p", "db=" + filepath.Join(filepath.Dir(path), "state", "db"), "-o", "stdout", "-p", "format=json_lines",
			}, nil, nil
		}})
	}
	return all, nil
}

// A process is a contender at work, with the processes it has started.
type process struct {
	cmd    *exec.Cmd
	stdout *os.File
	ended  bool
}

func (c contender) start(path string) (*process, error) {
	argv, env, err := c.command(path)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer write.Close()
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, stdout: read}, nil
}

// stop ends the process and returns the CPU time it has taken in all.
func (p *process) stop() time.Duration {
	if p.ended {
		return 0
	}
	p.ended = true
	cpu := p.cpu() // of a pipeline's parts, which no one may have waited for
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-done
	}
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
			for _, field := range strings.Fields(string(text)) {
				if pid, err := strconv.Atoi(field); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// sum adds up a number that read finds in a file below /proc/PID of each process.
func (p *process) sum(pattern string, read func(text string) float64) (total float64) {
	for _, pid := range p.pids() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/%s", pid, pattern))
		for _, file := range files {
			if text, err := os.ReadFile(file); err == nil {
				total += read(string(text))
			}
		}
	}
	return total
}

// field returns a function that finds a number behind a name in a text.
func field(name string) func(string) float64 {
	return func(text string) float64 {
		_, after, _ := strings.Cut(text, name)
		fields := strings.Fields(after)
		if len(fields) == 0 {
			return 0
		}
		n, _ := strconv.ParseFloat(fields[0], 64)
		return n
	}
}

// cpu is the time on a CPU so far; the scheduler counts it in nanoseconds.
func (p *process) cpu() time.Duration {
	return time.Duration(p.sum("task/*/schedstat", field("")))
}

func (p *process) switches() int {
	both := func(text string) float64 {
		return field("\nvoluntary_ctxt_switches:")(text) + field("nonvoluntary_ctxt_switches:")(text)
	}
	return int(p.sum("task/*/status", both))
}

// peak is the largest resident set so far, in MiB.
func (p *process) peak() float64 { return p.sum("status", field("VmHWM:")) / 1024 }

// pss is the proportional set size, in MiB: shared pages count once for all.
func (p *process) pss() float64 { return p.sum("smaps_rollup", field("\nPss:")) / 1024 }

// patience is how long to wait for a contender's next output.
const patience = 20 * time.Second

// countLines reads until n lines have come.
func countLines(r *os.File, n int) (got int, err error) {
	buf := make([]byte, 256<<10)
	for got < n {
		_ = r.SetReadDeadline(time.Now().Add(patience)) // a pipe always takes one
		m, err := r.Read(buf)
		got += bytes.Count(buf[:m], []byte{'\n'})
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, after, _ := strings.Cut(string(text), "model name")
	line, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(strings.TrimLeft(line, "\t :"))
}
