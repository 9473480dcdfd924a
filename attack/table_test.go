package attack

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

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
