// Command compiler compiles WASM modules for tests that are built with -race, whose
// own binary would take ten times as long.
package main

import (
	"fmt"
	"os"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
)

func main() {
	if err := wasm.CompileMain(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
