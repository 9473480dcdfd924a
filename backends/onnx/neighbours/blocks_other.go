//go:build !amd64

package neighbours

func (x *Index) fast() bool { return false }

func euclideanBlocks(_ *float32, _ *uint32, _, _ *float32, _, _ int, _ float32) {}

func manhattanBlocks(_ *float32, _ *uint32, _, _ *float32, _, _ int, _ float32) {}
