package progress

import (
	"io"
	"testing"
)

// TestAnySize checks that a bar takes all that is written, whatever size it was given: a
// pipe has the size 0, and a file may grow.
func TestAnySize(t *testing.T) {
	for _, size := range []int64{-1, 0, 1, 1000} {
		b := Bar(io.Discard, false, size)
		for range 3 {
			if n, err := b.Write(make([]byte, 700)); n != 700 || err != nil {
				t.Errorf("size %d: %d bytes, %v", size, n, err)
			}
		}
		if err := b.Close(); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
	}
}
