//go:build !wasip1

package wasm

// Register does nothing outside a module: tests call Run.
func Register(Detector) {}
