// Package process runs detectors that are programs: it starts them, hands them
// rows over gRPC on a unix socket, watches them, and starts them again.
//
// What a plugin's author needs is in sdk/process. Which rows come here, and what
// their scores mean, is the runtime's.
package process

import "log/slog"

// Config says which programs may run, and how.
type Config struct {
	Allow  []Allowed
	User   string            // runs the plugins; must be given where the host is root
	Env    map[string]string // is added to a plugin's environment
	Cgroup string            // directory of a cgroup whose children may be limited; empty: the host's own, if it may
	Random func() float64    // in [0, 1), for the jitter of restarts
	Log    *slog.Logger
	Exe    string // the host's binary, in its helper roles; empty: this one
}

// Allowed is a directory whose models may run programs and, where Digests is not
// empty, the files that may be run or handed to them.
type Allowed struct {
	Path    string
	Digests []string // "sha256:..."
}
