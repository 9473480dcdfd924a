package forest

import "golang.org/x/sys/cpu"

// hasBits reports whether the processor has what bitSums needs.
func hasBits() bool { return cpu.X86.HasAVX2 }

// bitSums adds to each of the 32 sums of acc, one per row, the leaves that the row reaches
// in trees, one tree after another. keys are those of 32 rows, column after column. parts
// is the number of the trees' parts, and buffer has room for a number per row.
//
//go:noescape
func bitSums(acc, buffer *float32, keys *int32, tests *bitTest, counts *uint32, leaves *float32, parts int)
