//go:build !wasip1

package wasm

// Register does nothing outside a module. Tests call Run.
func Register(Detector) {}
