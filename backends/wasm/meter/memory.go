package meter

import "github.com/tetratelabs/wazero/experimental"

// Memory is the memory of one instance, for experimental.WithMemoryAllocator. It
// reserves address space for the largest size, of which the system provides the
// pages that are touched. wazero's default, a Go slice, moves when it grows, and a
// single memory.grow took 0.3 s: longer than a deadline may be late.
//
// Keep, Begin and Reset restore an earlier content.
type Memory struct {
	space []byte
	heap  []byte // used if address space is short, and outside Linux
	size  int
	image []byte // the kept content
	changes
}

var _ experimental.LinearMemory = (*Memory)(nil)

// Allocate implements experimental.MemoryAllocator.
func (m *Memory) Allocate(_, most uint64) experimental.LinearMemory {
	m.space = reserve(most)
	return m
}

// Reallocate implements experimental.LinearMemory.
func (m *Memory) Reallocate(size uint64) []byte {
	if m.space != nil {
		if size > uint64(len(m.space)) {
			return nil
		}
		m.size = int(size)
		return m.space[:size:size]
	}
	m.heap = append(m.heap, make([]byte, size-uint64(len(m.heap)))...)
	m.size = int(size)
	return m.heap[:size:size]
}

// Free implements experimental.LinearMemory. wazero calls it when the module is
// closed. A second call does nothing.
func (m *Memory) Free() {
	m.dropImage()
	m.dropSpace()
	m.space, m.heap = nil, nil
}
