//go:build !linux

package process

import (
	"context"
	"errors"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// errPlatform says why plugins cannot be served. Only Linux has what limits and ends
// them: subreapers, pidfds and sealed files in memory.
var errPlatform = fmt.Errorf("%w: process plugins need Linux", backends.ErrUnavailable)

// HostEnv names the environment variable with the id of a plugin's host.
const HostEnv = "PYNOMALY_HOST_PID"

// Backend refuses all plugins because this platform cannot supervise them.
type Backend struct{}

// New returns a Backend whose Err says that plugins need Linux.
func New(Config) *Backend { return &Backend{} }

// Err returns why plugins cannot be started.
func (*Backend) Err() error { return errPlatform }

// Close does nothing.
func (*Backend) Close() error { return nil }

// Inspect returns the error that Err does.
func (*Backend) Inspect(context.Context, backends.Artifact) (manifest.Derived, error) {
	return manifest.Derived{}, errPlatform
}

// Open returns the error of Err.
func (*Backend) Open(context.Context, backends.Artifact) (sdk.Scorer, error) {
	return nil, errPlatform
}

// Main returns an error: this platform has no helper roles.
func Main(string, string) error { return errors.ErrUnsupported }
