package neighbours

// Plain returns the index without assembly.
func Plain(x *Index) *Index {
	y := *x
	y.plain = true
	return &y
}
