package attack

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// table collects the results of the cases.
type table struct {
	cells [][]string // four per row
	notes []string
}

// row ends a case.
func (b *table) row(t *testing.T, name, must, happened string) {
	t.Helper()
	verdict := map[bool]string{true: "FAILED", false: "holds"}[t.Failed()]
	b.cells = append(b.cells, []string{name, must, brief(happened), verdict})
}

// brief shortens a result for a table.
func brief(s string) string {
	const most = 140
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.NewReplacer("\n", "; ", "|", "/", "`", "'", "<", "&lt;").Replace(s)
}

func (b *table) print(t *testing.T) {
	t.Helper()
	var plain, marked strings.Builder
	w := tabwriter.NewWriter(&plain, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "attack\tverdict\twhat happened")
	marked.WriteString("| attack | what must happen | what happened |\n|---|---|---|\n")
	for _, c := range b.cells {
		fmt.Fprintf(w, "%s\t%s\t%s\n", c[0], c[3], c[2])
		fmt.Fprintf(&marked, "| %s | %s | %s |\n", c[0], c[1], c[2])
	}
	_ = w.Flush()
	marked.WriteString("\n")
	for _, n := range b.notes {
		fmt.Fprintln(&plain, n)
		fmt.Fprintf(&marked, "- %s\n", n)
	}
	fmt.Printf("\n%s\n", &plain)
	if file := os.Getenv("ATTACK_TABLE"); file != "" {
		check(t, os.WriteFile(file, []byte(marked.String()), 0o600))
	}
}

// TestAttacksAreDocumented checks that docs/security.md has a row for each case, with
// the same words.
func TestAttacksAreDocumented(t *testing.T) {
	text, err := os.ReadFile(testkit.Root() + "/docs/security.md")
	check(t, err)
	_, after, found := strings.Cut(string(text), "<!-- attack -->")
	shown, _, ended := strings.Cut(after, "<!-- end of attack -->")
	if !found || !ended {
		t.Fatal("docs/security.md has no table of attacks: run make attack-table")
	}
	rows := 0
	for _, g := range groups() {
		for _, a := range g.attacks {
			rows++
			if begin := fmt.Sprintf("\n| %s: %s | %s |", g.name, a.name, a.must); !strings.Contains(shown, begin) {
				t.Errorf("docs/security.md has no row that begins with %s: run make attack-table", begin[1:])
			}
		}
	}
	if have := strings.Count(shown, "\n| ") - 1; have != rows {
		t.Errorf("docs/security.md has %d rows, there are %d cases: run make attack-table", have, rows)
	}
}
