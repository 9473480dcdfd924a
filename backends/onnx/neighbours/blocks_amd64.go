package neighbours

import "golang.org/x/sys/cpu"

// fast reports whether the processor has what the assembly needs.
func (x *Index) fast() bool { return cpu.X86.HasAVX2 && !x.plain }

// euclideanBlocks writes for n blocks of 32 training rows with d features the
// squared distances to row, and the least of each block or NaN.
//
//go:noescape
func euclideanBlocks(squares, least, row, train *float32, d, n int)

// manhattanBlocks is euclideanBlocks for sums of absolute differences.
//
//go:noescape
func manhattanBlocks(squares, least, row, train *float32, d, n int)
