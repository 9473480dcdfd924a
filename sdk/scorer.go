// Package sdk defines the interface between a detector and the host that serves
// it: a Scorer turns a Batch of rows into one raw score per row.
//
// It imports only the standard library. The host, not the Scorer, applies what
// the manifest says of thresholds, orientation and calibration.
package sdk

import (
	"context"
	"fmt"
	"strings"
)

// Scorer is a loaded detector.
//
// The host makes at most Info().Concurrency calls of Score at once. Score must
// be safe for that many concurrent calls.
type Scorer interface {
	// Info describes the detector. The description does not change after
	// loading.
	Info() Info
	// Score writes the raw score of every row of in to out; len(out) ==
	// in.Rows(). If some rows cannot be scored, Score returns a *RowErrors, and
	// the scores of the other rows are valid. A score that is not finite counts
	// as a failed row. Score must not keep in or out after it returns. It
	// should return early when ctx is done.
	Score(ctx context.Context, in *Batch, out []float64) error
	// Close releases the detector. The host makes no call during or after
	// Close.
	Close() error
}

// An Explainer is a Scorer that explains its own scores.
type Explainer interface {
	// Explain writes 1 + len(Features) numbers for each row: the base value,
	// then each feature's contribution to the raw score. len(out) is the
	// product of both.
	Explain(ctx context.Context, in *Batch, out []float64) error
}

// A Learner is a stateful Scorer that learns from rows.
type Learner interface {
	// Learn adds the rows of in to the state, in order. It returns
	// errors.ErrUnsupported if this detector does not learn.
	Learn(ctx context.Context, in *Batch) error
}

// A Snapshotter is a stateful Scorer whose state can be saved.
type Snapshotter interface {
	// Save returns the state. It returns errors.ErrUnsupported if this detector
	// has none to save.
	Save(ctx context.Context) ([]byte, error)
	// Load replaces the state with one that Save of the same version returned.
	Load(ctx context.Context, state []byte) error
}

// A Resetter is a stateful Scorer that may lose what it learned since its last
// snapshot, because the instance or process that held the state ended.
type Resetter interface {
	// Resets returns how many times the state was lost.
	Resets() uint64
}

// A HealthChecker is a Scorer that can become unhealthy while it is loaded.
type HealthChecker interface {
	Health(ctx context.Context) error
}

// A MemoryUser is a Scorer that reports how many bytes it holds.
type MemoryUser interface {
	MemoryBytes() int64
}

// A Bounded is a Scorer whose calls may end soon whatever the rows are.
type Bounded interface {
	// Bounded reports whether every call of a few rows ends within milliseconds.
	// The host then makes such calls on the goroutine of a request, which cannot
	// give up waiting at its deadline. The answer does not change after loading.
	Bounded() bool
}

// Info describes a detector.
type Info struct {
	Name      string
	Version   string
	Algorithm string
	Features  []Feature
	// Concurrency is the largest number of concurrent Score calls; 0 means no
	// limit.
	Concurrency int
	// Stateful detectors remember rows. The host calls them one at a time, in
	// order.
	Stateful bool
}

// Feature is one input column.
type Feature struct {
	Name  string
	DType DType
}

// DType is the type of a feature's values.
type DType uint8

// The types of features.
const (
	Float32 DType = iota + 1
	Float64
	Int64
	String
	Bool
)

var dtypeNames = [...]string{Float32: "float32", Float64: "float64", Int64: "int64", String: "string", Bool: "bool"}

// String returns the name that manifests use.
func (d DType) String() string {
	if int(d) < len(dtypeNames) && dtypeNames[d] != "" {
		return dtypeNames[d]
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Numeric reports whether a dense Batch can have type d.
func (d DType) Numeric() bool { return d == Float32 || d == Float64 || d == Int64 }

// ParseDType returns the DType of the given name. It is the inverse of
// DType.String.
func ParseDType(s string) (DType, error) {
	for d, name := range dtypeNames {
		if name != "" && name == s {
			return DType(d), nil
		}
	}
	return 0, fmt.Errorf("unknown dtype %q: use float32, float64, int64, string or bool", s)
}

// RowError describes one row that could not be scored.
type RowError struct {
	Row    int    // index in the batch
	Field  string // the feature at fault; empty if there is no single one
	Reason string // what to change, for people to read
}

// RowErrors lists the rows of a batch that could not be scored, in ascending
// order.
type RowErrors struct {
	Rows []RowError
}

// Error names the first failed row and counts the others.
func (e *RowErrors) Error() string {
	if len(e.Rows) == 0 {
		return "no row failed"
	}
	var b strings.Builder
	first := e.Rows[0]
	fmt.Fprintf(&b, "row %d", first.Row)
	if first.Field != "" {
		fmt.Fprintf(&b, ", feature %q", first.Field)
	}
	fmt.Fprintf(&b, ": %s", first.Reason)
	if n := len(e.Rows) - 1; n > 0 {
		fmt.Fprintf(&b, " (and %d more rows)", n)
	}
	return b.String()
}
