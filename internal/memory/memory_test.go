package memory_test

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/memory"
)

func TestKeepGoBelow(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	t.Setenv("GOMEMLIMIT", "")
	if got := memory.KeepGoBelow(0); got != before {
		t.Errorf("without a limit it is %d, was %d", got, before)
	}
	if got := memory.KeepGoBelow(1 << 40); got != 3<<38 {
		t.Errorf("Go's limit is %d", got)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	t.Setenv("GOMEMLIMIT", "1TiB")
	if got := memory.KeepGoBelow(1 << 40); got != math.MaxInt64 {
		t.Errorf("a limit that the environment has set became %d", got)
	}
}
