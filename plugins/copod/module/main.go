// Command module is the detector copod as a WASM plugin.
package main

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/copod"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

func init() { wasm.Register(copod.New()) }

func main() {}
