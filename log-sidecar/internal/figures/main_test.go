package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const printed = `version-log-sidecar: 0.2.0
config-log-sidecar: "LOG_PATH=$LOG log-sidecar"
missing-vector: not installed
cpu: A CPU
BenchmarkCompare/kill_-9_twenty_times/by=log-sidecar-2   1   3.000 doubled   0 disordered   100.0 lines   0 lost   150.4 slowest-ms   0 torn
BenchmarkCompare/kill_-9_twenty_times/by=tail-2          1   0 doubled   2.000 disordered   100.0 lines   1.000 lost   1500 slowest-ms   0 torn
BenchmarkCompare/copytruncate/by=log-sidecar-2           1   0 doubled   0 disordered   50.00 lines   0 lost   20.00 slowest-ms   0 torn
BenchmarkCompare/copytruncate/by=tail-2                  1   0 doubled   0 disordered   50.00 lines   7.000 lost   10.00 slowest-ms   1.000 torn
BenchmarkCompare/lines_in_pieces/by=log-sidecar-2        1   0 doubled   0 disordered   10.00 lines   0 lost   10.00 slowest-ms   0 torn
BenchmarkLive/rate=1000/by=log-sidecar-2   1   9.000 cpu-µs/line   18.9 p50-ms   37.2 p99-ms
BenchmarkLive/rate=1000/by=log-sidecar-2   1   12.34 cpu-µs/line   19.9 p50-ms   38.2 p99-ms
BenchmarkLive/rate=1000/by=log-sidecar-2   1   10.00 cpu-µs/line   18.0 p50-ms   36.2 p99-ms
BenchmarkLive/rate=1000/by=tail-2          1   41.0 cpu-µs/line    0.111 p50-ms  0.3 p99-ms
BenchmarkBacklog/by=cat-2                  1   0.06 cpu-µs/line    1.7 peak-MiB
PASS
`

func TestFigures(t *testing.T) {
	var stdout, progress strings.Builder
	require.NoError(t, run(nil, strings.NewReader(printed), &stdout, &progress))
	assert.Equal(t, printed, progress.String())
	for _, want := range []string{
		"|  | log-sidecar 0.2.0 | tail -F |\n|---|---|---|\n" +
			"| kill -9 twenty times | 3 doubled; 150 ms | **1 lost**, 2 out of order; 1.5 s |\n" +
			"| copytruncate | ✓; 20 ms | **7 lost**, 1 torn; 10 ms |\n" +
			"| lines in pieces | ✓; 10 ms | – |\n\n",
		"\nCould not be tried: vector (not installed).\n",
		"\nlog-sidecar 0.2.0:\n\n```text\nLOG_PATH=$LOG log-sidecar\n```\n",
		// The scenario that one has not played is counted for none.
		"```mermaid\nxychart-beta\n  title \"Lost in all scenarios, of 150\"\n" +
			"  x-axis [\"log-sidecar 0.2.0\", \"tail -F\"]\n  y-axis \"lines\"\n  bar [0, 8]\n```\n" +
			"|  | log-sidecar 0.2.0 | tail -F |\n|---|---|---|\n| Lost in all scenarios, of 150, lines | 0 | 8 |\n",
		`|  | log-sidecar 0.2.0 | tail -F | cat |
|---|---|---|---|
| backlog, CPU µs/line | – | – | 0.06 |
| backlog, peak MiB | – | – | 1.70 |
| 1,000 lines/s, CPU µs/line | 10.0 | 41.0 | – |
| 1,000 lines/s, latency p50 / p99 ms | 18.9 / 37.2 | 0.11 / 0.30 | – |

(Medians; runs: 3; CPUs: 2, A CPU. Each is set to lose as little as it can.)
`,
		"  x-axis [\"log-sidecar 0.2.0\", \"tail -F\"]\n  y-axis \"µs\"\n  bar [10, 41]\n",
	} {
		assert.Contains(t, stdout.String(), want)
	}
}

func TestMarkersAreFilled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	const markdown = "# Title\n<!-- figures: bench-chart -->\n%s<!-- end -->\ntext\n<!-- figures: compare -->\n%s<!-- end -->\nend\n"
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, markdown, "", "old\n"), 0o600))
	r, err := parse(strings.NewReader(printed))
	require.NoError(t, err)
	for _, input := range []string{printed, printed, "PASS\n"} { // without numbers, all stays
		require.NoError(t, run([]string{file}, strings.NewReader(input), io.Discard, io.Discard))
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf(markdown, benchChart(r), compareTable(r)), string(text))
	}
}

func TestBadMarkersAreErrors(t *testing.T) {
	for _, markdown := range []string{
		"<!-- figures: no-such -->\n<!-- end -->\n",
		"<!-- figures: bench -->\n",
		"<!-- figures: bench -->\n<!-- figures: compare -->\n<!-- end -->\n",
		"<!-- figures: -->\n<!-- end -->\n",
	} {
		_, err := rewrite(markdown, &results{})
		assert.Error(t, err, markdown)
	}
}
