package guard_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/guard"
)

// TestCall: a panic comes back with its value and its stack; what a call returns is what
// Call returns.
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
