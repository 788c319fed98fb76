package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the sidecar prints, stored as containerd stores it and read by the real
// collector with the configuration that is shown, arrives as fields.
func TestOpenTelemetryCollectorMakesFields(t *testing.T) {
	program := os.Getenv("OTELCOL")
	if program == "" {
		t.Skip("OTELCOL names no OpenTelemetry Collector: make collectors builds one and runs this test")
	}
	const numberedLines = 3000
	const maxLine = 200_000
	// A character of three bytes: 16 KiB is no multiple of that, so some are cut in two.
	long := `{"timestamp":"2026-11-22T15:43:52.5+01:00","text":"` + strings.Repeat("世", 100_000/3) + `"}`
	// The first piece becomes a record of 6 × maxLine, the second is cut after a space.
	inPieces := strings.Repeat("\x01", maxLine) + strings.Repeat(" ", maxLine) + strings.Repeat("z", maxLine/2)

	s := newSite(t, "EXTRA_FIELDS=namespace=shop", fmt.Sprintf("MAX_LINE_BYTES=%d", maxLine))
	sc := s.start(t)
	s.write(t, numbered(0, numberedLines)+strings.Join([]string{
		long, "plain \"text\"", `{"timestamp":"yesterday","level":"error"}`, `{"timestamp":1795362231,"n":1.5}`,
		`[1,"a"]`, `7`, `null`, inPieces, "last",
	}, "\n")+"\n")
	eventually(t, "the last line", func() bool { return strings.Contains(sc.out.tail(), `"raw":"last"`) })
	sc.signal(t, syscall.SIGTERM)
	require.Zero(t, sc.exits(t))
	records := strings.Split(strings.TrimSuffix(sc.out.String(), "\n"), "\n")
	messages := append(strings.Split(strings.TrimSuffix(sc.stderr.String(), "\n"), "\n"), "panic: no JSON")

	stored := criLog{at: time.Date(2026, 11, 22, 16, 0, 0, 123456789, time.UTC)}
	for i, record := range records {
		pieces := stored.cut(record)
		stored.add("stdout", pieces[:1], len(pieces) == 1)
		if i == numberedLines { // the messages come in the middle of the long record
			for _, message := range messages {
				stored.add("stderr", stored.cut(message), true)
			}
		}
		stored.add("stdout", pieces[1:], true)
	}
	store := startLogStore(t)
	collector := startOtelcol(t, program, store.url, stored.text.String())
	eventually(t, "every record and message", func() bool { return len(store.received()) >= len(records)+len(messages) })
	require.NoError(t, collector.Process.Signal(syscall.SIGTERM))
	require.NoError(t, collector.Wait())

	var stdout, stderr []logRecord
	for _, r := range store.received() {
		assert.Equal(t, "shop", r.resource["k8s.namespace.name"])
		assert.Equal(t, "app-6d5f7c9b8-x2x7k", r.resource["k8s.pod.name"])
		if r.attributes["log.iostream"] == "stdout" {
			stdout = append(stdout, r)
			assert.Equal(t, "shop", r.attributes["namespace"])
			assert.NotEmpty(t, r.attributes["host"])
			assert.NotContains(t, r.attributes, "raw")
		} else {
			stderr = append(stderr, r)
		}
	}

	require.Len(t, stdout, len(records))
	for i, r := range stdout[:numberedLines] {
		require.Equal(t, map[string]any{
			"timestamp": "2026-11-22T15:43:51Z", "method": "GET", "path": fmt.Sprintf("/n/%07d", i), "status": int64(200),
		}, r.body)
		require.Equal(t, "2026-11-22T15:43:51Z", r.time())
	}
	others := stdout[numberedLines:]
	body, isMap := others[0].body.(map[string]any)
	require.True(t, isMap, "%.200v", others[0].body)
	assert.True(t, body["text"] == strings.Repeat("世", 100_000/3), "the long line is not what was written")
	assert.Equal(t, "2026-11-22T14:43:52.5Z", others[0].time())
	for i, want := range []any{
		`plain "text"`,
		map[string]any{"timestamp": "yesterday", "level": "error"},
		map[string]any{"timestamp": int64(1795362231), "n": 1.5},
		[]any{int64(1), "a"},
		int64(7),
		nil,
	} {
		r := others[1+i]
		assert.Equal(t, want, r.body)
		assert.Equal(t, r.attributes["processed_at"], r.time(), "%v", want)
		assert.NotContains(t, r.attributes, "partial")
	}
	last := len(others) - 1
	var whole strings.Builder
	for i, r := range others[7:last] {
		whole.WriteString(r.body.(string))
		if i < last-8 {
			assert.Equal(t, true, r.attributes["partial"], "piece %d", i)
		} else {
			assert.NotContains(t, r.attributes, "partial")
		}
	}
	assert.Greater(t, last-7, 2, "pieces")
	assert.True(t, whole.String() == inPieces, "the pieces are not what was written")
	assert.Equal(t, "last", others[last].body)

	require.Len(t, stderr, len(messages))
	for i, r := range stderr[:len(stderr)-1] {
		var want struct{ Msg, Level string }
		require.NoError(t, json.Unmarshal([]byte(messages[i]), &want))
		assert.Equal(t, want.Msg, r.body)
		assert.Equal(t, want.Level, r.severity)
		assert.Equal(t, "2026-11-22T16:00:00.123456789Z", r.time())
	}
	assert.Equal(t, "panic: no JSON", stderr[len(stderr)-1].body)
}

// criLog is a container's log as containerd writes it: both streams in one file, in
// lines that begin with time, stream and tag.
type criLog struct {
	at   time.Time
	text strings.Builder
}

// cut returns the pieces of a line as containerd cuts it.
func (*criLog) cut(line string) (pieces []string) {
	const most = 16 << 10
	for len(line) > most {
		pieces = append(pieces, line[:most])
		line = line[most:]
	}
	return append(pieces, line)
}

// add appends pieces of a line. The tag is F for the last of a line and P for others.
func (l *criLog) add(stream string, pieces []string, end bool) {
	for i, piece := range pieces {
		tag := "P"
		if end && i == len(pieces)-1 {
			tag = "F"
		}
		fmt.Fprintf(&l.text, "%s %s %s %s\n", l.at.Format(time.RFC3339Nano), stream, tag, piece)
	}
}

// startOtelcol starts the collector on a node with the log of one container.
func startOtelcol(t *testing.T, program, url, log string) *exec.Cmd {
	t.Helper()
	pods, state := t.TempDir(), t.TempDir()
	file := filepath.Join(pods, "shop_app-6d5f7c9b8-x2x7k_0c5d6e29-52ab-4b6c-9f2e-7a1d3b8c4e5f", "log-sidecar", "0.log")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(log), 0o600))
	shown, err := os.ReadFile("../deploy/collectors/otel-collector.yaml")
	require.NoError(t, err)
	here := strings.NewReplacer("/var/log/pods", pods, "/var/lib/otelcol", state)
	config := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(config, []byte(here.Replace(string(shown))), 0o600))

	// Two things are the test's own: JSON is what it can read, and a port is not to be
	// fought over for metrics that nobody reads.
	cmd := exec.Command(program, "--config", config,
		"--config", "yaml:exporters::otlp_http::encoding: json",
		"--config", "yaml:service::telemetry::metrics::level: none")
	cmd.Env = append(os.Environ(), "OTLP_ENDPOINT="+url)
	var said output
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // no-op if the test has waited for its end
		_ = cmd.Wait()
		if t.Failed() {
			t.Log("the collector said:\n", said.String())
		}
	})
	return cmd
}

// logStore takes what the collector sends by OTLP.
type logStore struct {
	url string

	mu  sync.Mutex // protects following
	all []logRecord
}

// logRecord is an OTLP log record, its values as Go has them.
type logRecord struct {
	resource   map[string]any
	attributes map[string]any
	body       any
	severity   string
	nanos      int64
}

func (r logRecord) time() string { return time.Unix(0, r.nanos).UTC().Format(time.RFC3339Nano) }

func startLogStore(t *testing.T) *logStore {
	t.Helper()
	s := &logStore{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		records, err := decodeOTLP(r)
		if !assert.NoError(t, err) {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.all = append(s.all, records...)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{}"))
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *logStore) received() []logRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

func decodeOTLP(r *http.Request) (all []logRecord, err error) {
	body := r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(r.Body); err != nil {
			return nil, err
		}
	}
	var request struct {
		ResourceLogs []struct {
			Resource  struct{ Attributes attributes }
			ScopeLogs []struct {
				LogRecords []struct {
					TimeUnixNano int64 `json:",string"`
					SeverityText string
					Body         anyValue
					Attributes   attributes
				}
			}
		}
	}
	if err := json.NewDecoder(body).Decode(&request); err != nil {
		return nil, err
	}
	for _, of := range request.ResourceLogs {
		for _, scope := range of.ScopeLogs {
			for _, r := range scope.LogRecords {
				all = append(all, logRecord{of.Resource.Attributes.plain(), r.Attributes.plain(), r.Body.plain(), r.SeverityText, r.TimeUnixNano})
			}
		}
	}
	return all, nil
}

type attributes []struct {
	Key   string
	Value anyValue
}

func (a attributes) plain() map[string]any {
	m := map[string]any{}
	for _, e := range a {
		m[e.Key] = e.Value.plain()
	}
	return m
}

// anyValue is OTLP's union in JSON: an object with the one key that names its type.
type anyValue map[string]json.RawMessage

func (v anyValue) plain() any {
	for kind, raw := range v {
		switch kind {
		case "intValue": // a string: JSON numbers have but 53 bits
			n, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
			if err != nil {
				panic(err)
			}
			return n
		case "kvlistValue":
			return decode[struct{ Values attributes }](raw).Values.plain()
		case "arrayValue":
			list := []any{}
			for _, e := range decode[struct{ Values []anyValue }](raw).Values {
				list = append(list, e.plain())
			}
			return list
		default:
			return decode[any](raw)
		}
	}
	return nil
}

func decode[T any](raw []byte) (v T) {
	if err := json.Unmarshal(raw, &v); err != nil {
		panic(err) // the whole was valid JSON
	}
	return v
}
