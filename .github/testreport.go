// Testreport reads what one go test -json after another says, prints what plain go test
// would, and at the end each test that was skipped, with the reason. What is not JSON is
// printed as it is.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

var (
	frame  = regexp.MustCompile(`^=== (RUN|PAUSE|CONT|NAME) `)
	reason = regexp.MustCompile(`(?m)^ +\S+\.go:\d+: (.*)$`)
)

func main() {
	outputs := map[string]map[string]string{} // package, test: neither passed nor skipped so far
	var skipped []string

	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		var e struct{ Action, Package, Test, Output string }
		if json.Unmarshal(in.Bytes(), &e) != nil {
			fmt.Println(in.Text())
			continue
		}
		tests := outputs[e.Package]
		if tests == nil {
			tests = map[string]string{}
			outputs[e.Package] = tests
		}
		switch {
		case e.Test == "" && e.Action == "fail": // the end of the package, and of what ran in it
			for _, name := range slices.Sorted(maps.Keys(tests)) {
				fmt.Print(tests[name])
			}
			clear(tests)
		case e.Test == "" && e.Output != "PASS\n": // the package's result, or the compiler's errors
			fmt.Print(e.Output)
		case e.Action == "output" && !frame.MatchString(e.Output):
			tests[e.Test] += e.Output
		case e.Action == "skip":
			why := "no reason given"
			for _, said := range reason.FindAllStringSubmatch(tests[e.Test], -1) {
				why = said[1]
			}
			if !strings.HasPrefix(e.Test, "Fuzz") { // seeds that a fuzz test has no use for are no loss
				skipped = append(skipped, "skipped: "+e.Test+": "+why)
			}
			fallthrough
		case e.Action == "pass":
			delete(tests, e.Test)
		}
	}
	if err := in.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "read the results:", err)
		os.Exit(1)
	}
	slices.Sort(skipped)
	for _, line := range slices.Compact(skipped) {
		fmt.Println(line)
	}
	if skipped == nil {
		fmt.Println("skipped: nothing")
	}
}
