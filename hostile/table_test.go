package hostile

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// table collects the results of the cases.
type table struct {
	pid   int // of the host
	since time.Time
	cells [][]string // six per row
	notes []string
	peak  int64
}

// begin begins a case: it notes the time and resets the host's peak memory.
func (b *table) begin(t *testing.T) {
	t.Helper()
	hosttest.ForgetPeak(t, b.pid)
	b.since = time.Now()
}

// row ends a case. The test fails if the host used too much memory.
func (b *table) row(t *testing.T, name, must, happened string) {
	t.Helper()
	peak := hosttest.Peak(t, b.pid)
	b.peak = max(b.peak, peak)
	if peak > mostMemory {
		t.Errorf("the host uses %s of memory, more than %s", hosttest.MB(peak), hosttest.MB(mostMemory))
	}
	verdict := map[bool]string{true: "FAILED", false: "holds"}[t.Failed()]
	b.cells = append(b.cells, []string{name, must, brief(happened), hosttest.MB(peak), hosttest.MS(time.Since(b.since)), verdict})
}

// brief shortens a result for a table.
func brief(s string) string {
	const most = 140
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.NewReplacer("\n", "; ", "|", "/", "`", "'").Replace(s)
}

func (b *table) print(t *testing.T) {
	t.Helper()
	b.notes = append(b.notes, fmt.Sprintf("the host's resident memory was %s at most, of %s", hosttest.MB(b.peak), hosttest.MB(mostMemory)))
	var plain, marked strings.Builder
	w := tabwriter.NewWriter(&plain, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "case\tverdict\tpeak\ttime\twhat happened")
	marked.WriteString("| case | what must happen | what happened | peak memory | time |\n|---|---|---|---|---|\n")
	for _, c := range b.cells {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", c[0], c[5], c[3], c[4], c[2])
		fmt.Fprintf(&marked, "| %s | %s | %s | %s | %s |\n", c[0], c[1], c[2], c[3], c[4])
	}
	_ = w.Flush()
	marked.WriteString("\n")
	for _, n := range b.notes {
		fmt.Fprintln(&plain, n)
		fmt.Fprintf(&marked, "- %s\n", n)
	}
	fmt.Printf("\n%s\n", &plain)
	if file := os.Getenv("HOSTILE_TABLE"); file != "" {
		check(t, os.WriteFile(file, []byte(marked.String()), 0o600))
	}
}

// TestCasesAreDocumented checks that docs/hostile.md has a row for each case, with
// the same words.
func TestCasesAreDocumented(t *testing.T) {
	text, err := os.ReadFile(testkit.Root() + "/docs/hostile.md")
	check(t, err)
	rows := 0
	row := func(group, name, must string) {
		rows++
		if begin := fmt.Sprintf("\n| %s: %s | %s |", group, name, must); !strings.Contains(string(text), begin) {
			t.Errorf("docs/hostile.md has no row that begins with %s", begin[1:])
		}
	}
	for _, g := range groups() {
		for _, m := range g.models {
			row(g.name, m.name, m.must)
		}
	}
	for _, r := range hostileRequests() {
		row("requests", r.name, r.must)
	}
	const others = 3 // the heading, the samples and the next host
	if have := strings.Count(string(text), "\n| "); have != rows+others {
		t.Errorf("docs/hostile.md has %d rows, there are %d cases", have-others, rows)
	}
}
