//go:build !cgo

package onnx

import (
	"context"
	"errors"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// scorer lets the package compile without cgo. No value is ever made.
type scorer struct {
	sdk.Scorer
	memory     int64
	rows, each int
	most       int
	bounded    bool
	engine     backends.Engine
}

var errNoCgo = errors.New("this binary was built without ONNX Runtime (CGO_ENABLED=0): build it with cgo and a C compiler")

// compiled returns why no library can be loaded, wherever it is.
func compiled() error { return errNoCgo }

func initialise(string) (string, error) { return "", errNoCgo }

func newScorer([]byte, *binding, *manifest.Manifest) (*scorer, error) { return nil, errNoCgo }

func runProbe(context.Context, probeJob) (finding, error) { return finding{}, errNoCgo }

func loadLocales([]string) {}
