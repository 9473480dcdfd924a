package hosttest

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
)

// Table collects what became of the cases of a suite. The first column names the case,
// and the second says what must happen.
type Table struct {
	Columns []string
	Notes   []string // below the table

	rows     [][]string
	verdicts []string
}

// Row ends a case: it adds a row with the verdict of t.
func (b *Table) Row(t *testing.T, cells ...string) {
	t.Helper()
	b.rows = append(b.rows, cells)
	b.verdicts = append(b.verdicts, map[bool]string{true: "FAILED", false: "holds"}[t.Failed()])
}

// Print prints the table for people, with verdicts and without what must happen. If the
// environment variable names a file, Print writes the table there as Markdown.
func (b *Table) Print(t *testing.T, variable string) {
	t.Helper()
	var plain, marked strings.Builder
	w := tabwriter.NewWriter(&plain, 0, 4, 2, ' ', 0)
	line := func(cells []string, verdict string) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", cells[0], verdict, strings.Join(cells[2:], "\t"))
		fmt.Fprintf(&marked, "| %s |\n", strings.Join(cells, " | "))
	}
	line(b.Columns, "verdict")
	marked.WriteString(strings.Repeat("|---", len(b.Columns)) + "|\n")
	for i, cells := range b.rows {
		line(cells, b.verdicts[i])
	}
	_ = w.Flush()
	marked.WriteString("\n")
	for _, n := range b.Notes {
		fmt.Fprintln(&plain, n)
		fmt.Fprintf(&marked, "- %s\n", n)
	}
	fmt.Printf("\n%s\n", &plain)
	if file := os.Getenv(variable); file != "" {
		if err := os.WriteFile(file, []byte(marked.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Brief shortens a text for a cell of a table.
func Brief(s string) string {
	const most = 140
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.NewReplacer("\n", "; ", "|", "/", "`", "'", "<", "&lt;").Replace(s)
}
