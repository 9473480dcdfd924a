// Command module is the detector hstrees as a WASM plugin.
package main

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/hstrees"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

func init() { wasm.Register(hstrees.New()) }

func main() {}
