package rest_test

import (
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
)

// TestPooledBuffersAreCharged checks that the buffers of a large request are not
// reused to hold more bytes than are counted.
func TestPooledBuffersAreCharged(t *testing.T) {
	const most = 64 << 20
	a := rest.NewAccounts(most, 16<<20)
	for range 4 { // large bodies leave their buffers
		if _, err := a.Read(strings.NewReader(strings.Repeat("x", 9<<20))); err != nil {
			t.Fatal(err)
		}
		a.Settle()
	}
	for _, length := range []int{1, 100 << 10, 3 << 20} {
		held, err := a.Read(strings.NewReader(strings.Repeat("x", length)))
		if err != nil {
			t.Fatal(err)
		}
		if free := 64 << 10; int64(held-free) > 2*a.Used()+int64(free) || held > max(free, 4*length) {
			t.Errorf("a body of %d bytes holds %d, and %d are counted", length, held, a.Used())
		}
		a.Settle()
	}
	if a.Used() != 0 {
		t.Errorf("%d bytes are left", a.Used())
	}
}
