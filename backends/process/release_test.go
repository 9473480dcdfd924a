//go:build linux

package process

import (
	"context"
	"testing"
)

// TestPanicReleasesSlot checks that a panic of the host's own code during a call leaves
// the call's slot free.
func TestPanicReleasesSlot(t *testing.T) {
	p := newPool(0, nil, nil)
	p.up = []*instance{{concurrency: 1}}
	s := &scorer{pool: p}
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			_ = s.call(t.Context(), false, func(*instance) error { panic("host code") })
		}()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // a call that has to wait fails at once
	if err := s.call(ctx, false, func(*instance) error { return nil }); err != nil {
		t.Error(err)
	}
}
