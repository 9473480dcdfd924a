// Command process is the detector hbos as a process plugin.
package main

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/hbos"
	"github.com/pynomaly/pynomaly-runtime/sdk/process"
)

func main() { process.Serve(process.FromWASM(hbos.New())) }
