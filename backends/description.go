package backends

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Description is what a plugin tells about itself.
type Description struct {
	Name        string
	Version     string
	Algorithm   string
	DType       sdk.DType // of the matrix that it takes; 0: batches have the types of the features
	Features    []string  // nil: the manifest lists them
	Orientation string
	Threshold   *float64
	Stateful    bool
}

// Check refuses values that no plugin may give.
func (d *Description) Check() error {
	if d.Orientation != "" && d.Orientation != "higher_is_anomalous" && d.Orientation != "higher_is_normal" {
		return fmt.Errorf("its orientation is %.40q, not higher_is_anomalous or higher_is_normal", d.Orientation)
	}
	if len(d.Features) > manifest.MaxFeatures {
		return fmt.Errorf("it has %d features; at most %d are served", len(d.Features), manifest.MaxFeatures)
	}
	return nil
}

// Derive returns what the plugin adds to a manifest.
func (d *Description) Derive(m *manifest.Manifest) (manifest.Derived, error) {
	var out manifest.Derived
	if len(m.Features) == 0 {
		if len(d.Features) == 0 {
			return out, errors.New("neither the manifest nor the plugin names the features: list them under features")
		}
		dtype := d.DType
		if dtype == 0 {
			dtype = sdk.Float64
		}
		for _, name := range d.Features {
			if name == "" || len(name) > manifest.MaxNameLength || slices.ContainsFunc(out.Features, func(f manifest.Feature) bool { return f.Name == name }) {
				return manifest.Derived{}, fmt.Errorf("the plugin's feature name %.60q is empty, too long or taken", name)
			}
			out.Features = append(out.Features, manifest.Feature{Feature: sdk.Feature{Name: name, DType: dtype}})
		}
	}
	if m.Derived {
		if !m.Output.Directed {
			out.Output = &manifest.Output{Name: m.Output.Name, HigherIsNormal: d.Orientation == "higher_is_normal", Directed: d.Orientation != ""}
		}
		if m.Threshold == nil {
			out.Threshold = d.Threshold
		}
		out.Algorithm, out.Stateful = d.Algorithm, d.Stateful
	}
	return out, nil
}

// Agrees returns an error if the description contradicts the manifest's
// features.
func (d *Description) Agrees(features []sdk.Feature) error {
	if want := MatrixType(features); d.DType != 0 && want != d.DType {
		return fmt.Errorf("the manifest's features form a matrix of %s; the plugin takes %s", want, d.DType)
	}
	if d.Features == nil {
		return nil
	}
	if len(d.Features) != len(features) {
		return fmt.Errorf("the manifest lists %d features; the plugin has %d", len(features), len(d.Features))
	}
	for j, f := range features {
		if f.Name != d.Features[j] {
			return fmt.Errorf("feature %d is %q in the manifest and %.60q in the plugin", j, f.Name, d.Features[j])
		}
	}
	return nil
}

// MatrixType returns the type of the matrix that a plugin receives: the type of
// all features, or float64 if they differ.
func MatrixType(features []sdk.Feature) sdk.DType {
	for _, f := range features {
		if f.DType != features[0].DType || !f.DType.Numeric() {
			return sdk.Float64
		}
	}
	return features[0].DType
}

// Inexact is the reason of a row error if Widen cannot convert a value.
const Inexact = "is beyond 2^53, which float64 does not hold exactly"

// Widen converts a number or boolean to float64. It returns false if the result
// would not be exact.
func Widen(c *sdk.Column, row int) (float64, bool) {
	const exact = 1 << 53
	switch c.DType {
	case sdk.Float32:
		return float64(c.Float32s[row]), true
	case sdk.Float64:
		return c.Float64s[row], true
	case sdk.Int64:
		v := c.Int64s[row]
		return float64(v), v >= -exact && v <= exact
	default:
		if c.Bools[row] {
			return 1, true
		}
		return 0, true
	}
}

// DownError says that a plugin cannot be called at present because its process
// or module is down.
type DownError struct {
	Reason     string
	RetryAfter time.Duration
	Suspect    bool // the rows of this call may have brought it down
}

// Error returns the reason.
func (e *DownError) Error() string { return e.Reason }

// Remote is implemented by a Scorer whose calls only wait for another process
// and use no processor of this one.
type Remote interface {
	Remote() bool
}

// Usage is what a detector runs in, and what it has used since it was loaded.
type Usage struct {
	Instances int    // instances of a module, or processes of a plugin, that are up
	Wanted    int    // how many there are when all is well, or at most
	Restarts  uint64 // processes that ended, or did not start, and were started again
	Metered   bool   // it is a module, whose calls take fuel
	Fuel      uint64 // units that they took
	Waits     bool   // all processes are down, and wait before they are started again
}

// UsageReporter is implemented by a Scorer that can say what it uses. It is safe for
// concurrent use.
type UsageReporter interface {
	Usage() Usage
}

// RowLimiter is implemented by a Scorer that knows how many rows of a call fit
// limits.memory, of a manifest that does not say limits.max_batch_rows.
type RowLimiter interface {
	MaxRows() int
}

// Filler is implemented by a Scorer that knows how its calls must be filled up for each
// row to be computed the same: to a multiple of rows, with each row so many times.
type Filler interface {
	Fill() (rows, each int)
}

// RowByRow is implemented by a Scorer that knows whether a call of several rows takes
// hardly less than a call for each of them.
type RowByRow interface {
	RowByRow() bool
}

// The names of engines. Forests and searches for neighbours are computed by this
// host, which recognised what a graph is.
const (
	EngineRuntime    = "onnxruntime"
	EngineForest     = "forest"
	EngineNeighbours = "neighbours"
)

// Own reports whether this host computes the scores, in place of a graph.
func (e Engine) Own() bool { return e.Name == EngineForest || e.Name == EngineNeighbours }

// Engine is what computes the scores of a detector, where a backend has a choice.
type Engine struct {
	Name   string // EngineRuntime, EngineForest or EngineNeighbours
	Detail string // for people: why this one, and how it was proved
}

// EngineReporter is implemented by a Scorer of a backend that has a choice.
type EngineReporter interface {
	Engine() Engine
}
