//go:build !linux

package meter

// Here memories are Go slices and Keep copies them: files in memory and the page map
// exist only on Linux.

type changes struct{}

func reserve(uint64) []byte { return nil }

func (*Memory) dropSpace() {}

func (m *Memory) dropImage() { m.image = nil }

// Keep makes the present content the one that Reset restores.
func (m *Memory) Keep() error {
	m.image = append(m.image[:0], m.heap...)
	return nil
}

// Begin must be called before the first change after Keep or Reset.
func (*Memory) Begin() {}

// Reset restores the kept content; bytes that were added since become zero.
func (m *Memory) Reset() error {
	clear(m.heap[copy(m.heap, m.image):])
	return nil
}
