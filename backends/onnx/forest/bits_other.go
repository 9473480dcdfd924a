//go:build !amd64

package forest

func hasBits() bool { return false }

func bitSums(_, _ *float32, _ *int32, _ *bitTest, _ *uint32, _ *float32, _ int) {}
