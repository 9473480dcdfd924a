//go:build !unix

package process

// setAside does nothing: standard output is no descriptor that C libraries share.
func setAside() error { return nil }
