// Command process is the detector as a process plugin; module is the same as a
// WASM module.
package main

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/hstrees"
	"github.com/pynomaly/pynomaly-runtime/sdk/process"
)

func main() { process.Serve(process.FromWASM(hstrees.New())) }
