package main

import "github.com/pynomaly/pynomaly-runtime/sdk/wasm"

func init() { wasm.Register(newECOD()) } // the host never runs main

func main() {}
