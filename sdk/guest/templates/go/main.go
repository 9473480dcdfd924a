package main

import "github.com/pynomaly/pynomaly-runtime/sdk/wasm"

func init() { wasm.Register(newECOD()) } // a module of this kind has no main that runs

func main() {}
