package neighbours

// Plain returns the index without assembly.
func Plain[T Number](x *Index[T]) *Index[T] {
	y := *x
	y.vectors = nil
	return &y
}

// Kept returns how many rows a search for one feature's value would keep for a while.
func Kept[T Number](x *Index[T], value T) int {
	f := nearest[T]{dist: make([]T, 0, x.k), row: make([]int32, 0, x.k)}
	kept := 0
	for i, number := range x.number {
		d := max(x.train[i]-value, value-x.train[i])
		if len(f.dist) < x.k || f.after(x.k-1, d, number) {
			kept++
		}
		x.take(&f, d*d, number)
	}
	return kept
}
