package runtime

import (
	"errors"

	"github.com/pynomaly/pynomaly-runtime/backends"
)

// guarded makes a call into the model's detector, counts and logs a panic in it, and
// puts what backends say into the runtime's errors.
func (m *Model) guarded(call func() error) error {
	err := backends.Guarded(call)
	if err == nil {
		return nil
	}
	var p *backends.PanicError
	if errors.As(err, &p) {
		m.Stats.Panicked()
		if m.witness != nil {
			m.witness.panicked(m, p)
		}
	}
	return m.down(err)
}
