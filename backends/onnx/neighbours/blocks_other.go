//go:build !amd64

package neighbours

func (x *Index) fast() bool { return false }

func euclideanBlocks(_, _, _, _ *float32, _, _ int) {}

func manhattanBlocks(_, _, _, _ *float32, _, _ int) {}
