package neighbours

import "golang.org/x/sys/cpu"

// fast reports whether the processor has what the assembly needs.
func (x *Index) fast() bool { return cpu.X86.HasAVX2 && !x.plain }

// euclideanBlocks writes for n blocks of 32 training rows with d features the squared
// distances to row, and for each block a bit per training row that is below limit.
//
//go:noescape
func euclideanBlocks(to *float32, near *uint32, row, train *float32, d, n int, limit float32)

// manhattanBlocks is euclideanBlocks for sums of absolute differences.
//
//go:noescape
func manhattanBlocks(to *float32, near *uint32, row, train *float32, d, n int, limit float32)
