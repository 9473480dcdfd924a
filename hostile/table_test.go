package hostile

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

// table is a table of cases with the host's memory and the time that each took.
type table struct {
	hosttest.Table
	pid   int // of the host
	since time.Time
	peak  int64
}

func newTable(pid int) *table {
	return &table{Table: hosttest.Table{Columns: []string{"case", "what must happen", "what happened", "peak memory", "time"}}, pid: pid}
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
	b.Row(t, name, must, hosttest.Brief(happened), hosttest.MB(peak), hosttest.MS(time.Since(b.since)))
}

func (b *table) print(t *testing.T) {
	t.Helper()
	b.Notes = append(b.Notes, fmt.Sprintf("the host's resident memory was %s at most, of %s", hosttest.MB(b.peak), hosttest.MB(mostMemory)))
	b.Print(t, "HOSTILE_TABLE")
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
