//go:build cgo && !linux

package onnx

// loadLocales does nothing: no filter of system calls keeps the library from opening
// their files later.
func loadLocales([]string) {}

// trim does nothing: it is glibc that keeps freed memory.
func trim() {}
