//go:build race

package wasm

// slow is how many times longer compiling takes in a binary built with -race.
const slow = 10
