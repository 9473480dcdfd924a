// Package process runs detectors that are programs. It starts them, sends them rows
// over gRPC on a unix socket, watches them, and restarts them.
//
// sdk/process holds what the author of a plugin needs. The runtime chooses the rows
// and interprets the scores.
package process

import "log/slog"

// Config says which programs may run, and how.
type Config struct {
	Allow  []Allowed
	User   string            // runs the plugins; required if the host is root
	Env    map[string]string // added to the environment of plugins
	Cgroup string            // directory of a cgroup for the plugins' groups; empty: the host's own, if possible
	Random func() float64    // in [0, 1), for the jitter of restarts
	Log    *slog.Logger
	Exe    string // the host's binary, for the helper roles; empty: this one
}

// Allowed is a directory whose models may run programs. If Digests is not empty,
// only files with these digests may be run or passed to programs.
type Allowed struct {
	Path    string
	Digests []string // "sha256:..."
}
