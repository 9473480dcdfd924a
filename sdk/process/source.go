package process

import "embed"

// Source is this module itself, for programs that make projects of it.
//
//go:embed go.mod go.sum LICENSE *.go wire/*.go pluginv1/*.go
var Source embed.FS
