package neighbours

import "golang.org/x/sys/cpu"

// vectors returns the assembly for a metric.
func vectors[T Number](m Metric) blocks[T] {
	if !cpu.X86.HasAVX2 {
		return nil
	}
	var all []any
	switch m {
	case Euclidean:
		all = []any{euclidean32, euclidean64}
	case Manhattan:
		all = []any{manhattan32}
	}
	for _, f := range all {
		if f, ok := f.(func(to *T, near *uint32, row, train *T, d, n int, limit T)); ok {
			return f
		}
	}
	return nil
}

// euclidean32 is blocks for squares of differences.
//
//go:noescape
func euclidean32(to *float32, near *uint32, row, train *float32, d, n int, limit float32)

// euclidean64 is euclidean32 for float64.
//
//go:noescape
func euclidean64(to *float64, near *uint32, row, train *float64, d, n int, limit float64)

// manhattan32 is blocks for absolute differences.
//
//go:noescape
func manhattan32(to *float32, near *uint32, row, train *float32, d, n int, limit float32)
