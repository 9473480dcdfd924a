package sdk

import "embed"

// Source holds the SDK itself: the Go packages, the guest SDKs of other
// languages and the project templates. "plugin init" copies from it, so that a
// new project builds without a download.
//
//go:embed go.mod LICENSE *.go wasm/*.go sdktest/*.go guest python/pyproject.toml python/pynomaly_plugin/*.py
var Source embed.FS
