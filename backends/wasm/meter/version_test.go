package meter_test

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
)

// TestVersion checks that Version changes with the rewriter's output, because caches
// of rewritten modules depend on it.
func TestVersion(t *testing.T) {
	modules := randomModules(t)
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		_, _ = h.Write(rewrite(t, modules[name]))
	}
	want := map[int]string{
		1: "0d875ad6ae754d3aaed91ef777f6d2319c569c8b70509fe04e005695e940eec2",
		2: "aa32dddba4daa010472383c073d61ca5ea96f7578828c130c07979e8115914bc",
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want[meter.Version] {
		t.Errorf("rewritten modules have the digest %s, not %q: increment Version and add the digest here", got, want[meter.Version])
	}
}
