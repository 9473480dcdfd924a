//go:build !linux

package process

import (
	"context"
	"errors"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// errPlatform says why there are no process plugins here: they are bounded and ended
// by what Linux alone has (subreapers, pidfds, sealed files in memory).
var errPlatform = fmt.Errorf("%w: process plugins need Linux", backends.ErrUnavailable)

// HostEnv is the environment variable that tells a plugin its host.
const HostEnv = "PYNOMALY_HOST_PID"

// Backend refuses every plugin: this platform cannot supervise them.
type Backend struct{}

// New returns a Backend whose Err says that plugins need Linux.
func New(Config) *Backend { return &Backend{} }

// Err says why plugins cannot be started.
func (*Backend) Err() error { return errPlatform }

// Close does nothing.
func (*Backend) Close() error { return nil }

// Complete returns the error that Err does.
func (*Backend) Complete(context.Context, backends.Artifact) error { return errPlatform }

// Open returns the error that Err does.
func (*Backend) Open(context.Context, backends.Artifact) (sdk.Scorer, error) {
	return nil, errPlatform
}

// Main reports that this platform has no roles to play.
func Main(string, string) error { return errors.ErrUnsupported }
