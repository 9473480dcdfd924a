// Command module is the detector ecod as a WASM plugin.
package main

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/ecod"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

func init() { wasm.Register(ecod.New()) }

func main() {}
