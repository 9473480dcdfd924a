// Command process is the detector ecod as a process plugin.
package main

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/ecod"
	"github.com/pynomaly/pynomaly-runtime/sdk/process"
)

func main() { process.Serve(process.FromWASM(ecod.New())) }
