package wasm

import (
	"fmt"
	"os"
)

// pathOf names an open directory by its descriptor.
func pathOf(dir *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", dir.Fd()) }
