package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const compare = "Compare/"

// scenarios are the benchmarks that compare, and those whom they compare.
func (r *results) scenarios() (scenarios, programs []string) {
	for _, name := range r.benchmarks {
		if strings.HasPrefix(name, compare) {
			scenarios = append(scenarios, name)
		}
	}
	for _, program := range r.programs {
		if slices.ContainsFunc(scenarios, func(s string) bool { return r.has(s, program, "lost") }) {
			programs = append(programs, program)
		}
	}
	return scenarios, programs
}

// faults are the metrics that should be zero, and how they are told.
var faults = []struct{ unit, told string }{
	{"lost", "**%.0f lost**"}, {"doubled", "%.0f doubled"}, {"disordered", "%.0f out of order"}, {"torn", "%.0f torn"},
}

// beside is what a table of losses does not show.
const beside = "The table is about losses only. `tail -F` and rsyslog print a line sooner while lines keep coming, " +
	"and sleep while none come: log-sidecar lets lines gather for up to 37 ms, and wakes a few times a second. " +
	"All but log-sidecar and `tail -F` also parse, filter, route and send logs, which is what a collector is for."

func compareTable(r *results) string {
	scenarios, programs := r.scenarios()
	if len(scenarios) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(r.header("", programs))
	for _, scenario := range scenarios {
		cells := []string{strings.TrimPrefix(scenario, compare)}
		for _, program := range programs {
			cells = append(cells, r.outcome(scenario, program))
		}
		b.WriteString(row(cells...))
	}
	b.WriteString("\n✓: every line came once, whole, and in its writer's order. The time is that of the slowest line, from its write to its print; down times and pauses of the scenario are in it.\n")
	b.WriteString("\n" + beside + "\n")
	var missing []string
	for _, program := range r.missing {
		missing = append(missing, fmt.Sprintf("%s (%s)", program, r.said["missing-"+program]))
	}
	if len(missing) > 0 {
		fmt.Fprintf(&b, "\nCould not be tried: %s.\n", strings.Join(missing, ", "))
	}
	b.WriteString("\n<details><summary>How each was started</summary>\n")
	for _, program := range programs {
		if config, err := strconv.Unquote(r.said["config-"+program]); err == nil {
			fmt.Fprintf(&b, "\n%s:\n\n```text\n%s\n```\n", r.label(program), config)
		}
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

// outcome is what one program has made of one scenario.
func (r *results) outcome(scenario, program string) string {
	if !r.has(scenario, program, "lost") {
		return "–"
	}
	var found []string
	for _, f := range faults {
		if n := r.most(scenario, program, f.unit); n > 0 {
			found = append(found, fmt.Sprintf(f.told, n))
		}
	}
	if len(found) == 0 {
		found = []string{"✓"}
	}
	ms := r.most(scenario, program, "slowest-ms")
	if ms >= 1000 {
		return fmt.Sprintf("%s; %.1f s", strings.Join(found, ", "), ms/1000)
	}
	return fmt.Sprintf("%s; %.0f ms", strings.Join(found, ", "), ms)
}

// compareChart shows the lost lines of all scenarios that all programs have played.
func compareChart(r *results) string {
	scenarios, programs := r.scenarios()
	var lines float64
	lost := map[string]float64{}
	for _, scenario := range scenarios {
		if slices.ContainsFunc(programs, func(p string) bool { return !r.has(scenario, p, "lost") }) {
			continue
		}
		lines += r.most(scenario, programs[0], "lines")
		for _, program := range programs {
			lost[program] += r.most(scenario, program, "lost")
		}
	}
	if lines == 0 {
		return ""
	}
	return r.chart(fmt.Sprintf("Lost in all scenarios, of %.0f", lines), "lines", programs,
		func(program string) float64 { return lost[program] })
}
