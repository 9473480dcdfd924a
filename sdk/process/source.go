package process

import "embed"

// Source holds this module's own files. "plugin init" copies from it.
//
//go:embed go.mod go.sum LICENSE *.go wire/*.go pluginv1/*.go
var Source embed.FS
