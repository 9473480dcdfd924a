package batching

// Bin exports bin for tests.
func Bin(rows int) int { return bin(rows) }
