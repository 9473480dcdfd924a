// Command process is the detector copod as a process plugin.
package main

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/copod"
	"github.com/pynomaly/pynomaly-runtime/sdk/process"
)

func main() { process.Serve(process.FromWASM(copod.New())) }
