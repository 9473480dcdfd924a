package platform

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestPlatforms checks that the log and docs/operations.md name the same lacks of
// other platforms, and that Linux lacks nothing.
func TestPlatforms(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testkit.Root(), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## Platforms\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if !found {
		t.Fatal("docs/operations.md has no section Platforms")
	}
	for _, what := range lacks("darwin") {
		if !strings.Contains(section, "| "+what+" |") {
			t.Errorf("docs/operations.md does not say that macOS lacks %s", what)
		}
	}
	for platform, want := range map[string]int{"linux": 0, "darwin": 1} {
		var out bytes.Buffer
		Show(platform, slog.New(slog.NewTextHandler(&out, nil)))
		if got := strings.Count(out.String(), "\n"); got != want {
			t.Errorf("on %s %d lines are logged: %s", platform, got, out.String())
		}
	}
}
