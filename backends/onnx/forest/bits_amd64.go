package forest

import "golang.org/x/sys/cpu"

// hasBits reports whether the processor has what bitSums needs.
func hasBits() bool { return cpu.X86.HasAVX2 }

// bitSums adds to each of the 32 sums of acc, one per row, the leaves that the row reaches
// in the trees, one tree after another. keys are those of 32 rows, column after column.
//
//go:noescape
func bitSums(acc *float32, keys *int32, tests *bitTest, counts *uint32, leaves *float32, trees int)
