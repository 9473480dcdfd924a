//go:build !cgo

package testkit

const hasCgo = false
