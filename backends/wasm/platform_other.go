//go:build !linux

package wasm

import "os"

// pathOf returns the path with which a directory was opened, since descriptors have
// no paths on this platform. Nobody else can change the directory that contains it.
func pathOf(dir *os.File) string { return dir.Name() }
