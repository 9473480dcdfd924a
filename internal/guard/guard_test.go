package guard_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/guard"
)

// TestCall checks that Call returns a panic with its value and its stack, and
// otherwise what the function returns.
func TestCall(t *testing.T) {
	var p *guard.PanicError
	err := guard.Call(func() error { panic("at a value") })
	if !errors.As(err, &p) || p.Value != "at a value" || !strings.Contains(string(p.Stack), "guard_test.go") || err.Error() != "it panicked: at a value" {
		t.Errorf("%v", err)
	}
	down := errors.New("down")
	if err := guard.Call(func() error { return down }); !errors.Is(err, down) {
		t.Errorf("%v", err)
	}
	if err := guard.Call(func() error { return nil }); err != nil {
		t.Errorf("%v", err)
	}
}
