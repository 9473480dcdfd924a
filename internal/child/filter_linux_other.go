//go:build linux && !amd64 && !arm64

package child

// Confine does nothing: the lists of system calls are for amd64 and arm64.
func Confine(bool) error { return nil }

func filters() bool { return false }
