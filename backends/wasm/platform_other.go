//go:build !linux

package wasm

import "os"

// pathOf names an open directory by the path that it was opened with, since
// descriptors have no paths here. It lies in a directory that nobody else can change.
func pathOf(dir *os.File) string { return dir.Name() }
