package sdk

import "embed"

// Source is the SDK itself: the Go packages, the guest SDKs of other languages and
// the projects that begin a plugin. A program that makes projects carries it, so
// that what it makes builds from what it brings.
//
//go:embed go.mod LICENSE *.go wasm/*.go sdktest/*.go guest python/pyproject.toml python/pynomaly_plugin/*.py
var Source embed.FS
