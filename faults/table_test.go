package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// scenario is a fault and what must hold.
type scenario struct {
	id   string // the subtest's name
	does string
	must string
	root bool // needs mounts or control groups; another scenario is its unprivileged form
	run  func(t *testing.T, r *row)
}

// row is a scenario's row of the table.
type row struct {
	scenario
	notes   []string
	verdict string
}

// note adds a measurement or a loss to the row.
func (r *row) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// scenarios returns the suite in the order of the table.
func scenarios() []scenario {
	return slices.Concat(connectionScenarios(), loadScenarios(), logScenarios(), signalScenarios(), volumeScenarios(),
		causeScenarios(), stateScenarios(), stormScenarios(), stopScenarios(), pluginScenarios())
}

// TestFaults runs all scenarios, one after the other, and prints the table.
func TestFaults(t *testing.T) {
	var rows []*row
	for _, s := range scenarios() {
		r := &row{scenario: s, verdict: "not run"}
		rows = append(rows, r)
		t.Run(s.id, func(t *testing.T) {
			// This runs after the cleanups of the scenario, which may fail, too.
			t.Cleanup(func() {
				r.verdict = map[bool]string{true: "FAILED", false: "holds"}[t.Failed()]
				if t.Skipped() {
					r.verdict = "needs root"
				}
			})
			if s.root && os.Geteuid() != 0 {
				t.Skip("mounts and control groups need root; an unprivileged form of this runs always")
			}
			s.run(t, r)
		})
	}
	rows = slices.DeleteFunc(rows, func(r *row) bool { return r.verdict == "not run" })
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.id, r.verdict, strings.Join(r.notes, "; "))
	}
	_ = w.Flush()
	fmt.Printf("\n%s\n", &text)
	if file := os.Getenv("FAULTS_TABLE"); file != "" {
		if err := os.WriteFile(file, []byte(markdown(rows)), 0o600); err != nil {
			t.Error(err)
		}
	}
}

func markdown(rows []*row) string {
	var b strings.Builder
	b.WriteString("| scenario | what is done | what must hold | measured | verdict |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.id, r.does, r.must, strings.Join(r.notes, "; "), r.verdict)
	}
	return b.String()
}

// TestScenariosAreDocumented checks that docs/operations.md has exactly one row for
// each scenario, with the same words.
func TestScenariosAreDocumented(t *testing.T) {
	text, err := os.ReadFile(testkit.Root() + "/docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## What it survives\n")
	if !ok {
		t.Fatal("docs/operations.md has no section What it survives")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for _, s := range scenarios() {
		begin := fmt.Sprintf("| `%s` | %s | %s |", s.id, s.does, s.must)
		if !strings.Contains(section, begin) {
			t.Errorf("docs/operations.md has no row that begins with %s", begin)
		}
	}
	if have, want := strings.Count(section, "\n| `"), len(scenarios()); have != want {
		t.Errorf("docs/operations.md has %d rows, there are %d scenarios", have, want)
	}
}
