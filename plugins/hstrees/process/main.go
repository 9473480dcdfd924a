// Command process is the detector hstrees as a process plugin.
package main

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/hstrees"
	"github.com/pynomaly/pynomaly-runtime/sdk/process"
)

func main() { process.Serve(process.FromWASM(hstrees.New())) }
