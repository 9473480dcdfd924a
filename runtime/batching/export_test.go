package batching

// Bin is bin, for tests.
func Bin(rows int) int { return bin(rows) }
