//go:build !linux

package meter

// Memories are slices of Go's here, and what is kept of one is a copy: files in memory
// and the kernel's page map are Linux's.

type changes struct{}

func reserve(uint64) []byte { return nil }

func (*Memory) dropSpace() {}

func (m *Memory) dropImage() { m.image = nil }

// Keep makes the present content that which Reset brings back.
func (m *Memory) Keep() error {
	m.image = append(m.image[:0], m.heap...)
	return nil
}

// Begin comes before the first change since Keep or Reset.
func (*Memory) Begin() {}

// Reset brings back the content that was kept; what the memory has grown by since is
// zero.
func (m *Memory) Reset() error {
	clear(m.heap[copy(m.heap, m.image):])
	return nil
}
