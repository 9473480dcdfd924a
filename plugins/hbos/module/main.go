// Command module is the detector hbos as a WASM plugin.
package main

import (
	"github.com/pynomaly/pynomaly-runtime/plugins/hbos"
	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

func init() { wasm.Register(hbos.New()) }

func main() {}
