//go:build cgo && !linux

package onnx

// loadLocales does nothing: this platform filters no system calls, so the
// library can open locales when it needs them.
func loadLocales([]string) {}

// trim does nothing: only glibc keeps freed memory.
func trim() {}
