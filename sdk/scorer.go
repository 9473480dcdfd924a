// Package sdk is what a detector and the host that serves it agree on: a Scorer
// turns a Batch of rows into one raw score per row.
//
// It imports the standard library only. Thresholds, orientation, calibration and
// everything else that a manifest says do not live here: the host applies them.
package sdk

import (
	"context"
	"fmt"
	"strings"
)

// Scorer is a loaded detector.
//
// Score is safe for concurrent use up to Info().Concurrency calls at once; the
// host keeps to that number.
type Scorer interface {
	// Info describes the detector. It does not change after loading.
	Info() Info
	// Score writes the raw score of every row of in to out; len(out) == in.Rows().
	// Rows that cannot be scored come back as *RowErrors, the other rows' scores
	// are then valid. A non-finite score counts as a failed row. Score keeps
	// nothing of in or out after it returns, and honours ctx where it can.
	Score(ctx context.Context, in *Batch, out []float64) error
	// Close releases the detector. No call may be running or follow.
	Close() error
}

// Explainer is implemented by a Scorer that explains its own scores.
type Explainer interface {
	// Explain writes, for every row, the base value and then one contribution per
	// feature to the raw score: len(out) == in.Rows() * (1 + number of features).
	Explain(ctx context.Context, in *Batch, out []float64) error
}

// Learner is implemented by a stateful Scorer that can learn from rows.
type Learner interface {
	// Learn takes the rows of in into the state, in order; errors.ErrUnsupported
	// means that this detector does not learn.
	Learn(ctx context.Context, in *Batch) error
}

// Snapshotter is implemented by a stateful Scorer whose state can be saved.
type Snapshotter interface {
	// Save returns the state; errors.ErrUnsupported means that this detector
	// keeps none that could be saved.
	Save(ctx context.Context) ([]byte, error)
	// Load replaces the state by one that Save of the same version returned.
	Load(ctx context.Context, state []byte) error
}

// Resetter is implemented by a stateful Scorer that can lose what it has learned
// since its last snapshot, with the instance or the process that held it.
type Resetter interface {
	// Resets is how many times that has happened.
	Resets() uint64
}

// HealthChecker is implemented by a Scorer that can be unwell while loaded.
type HealthChecker interface {
	Health(ctx context.Context) error
}

// MemoryUser is implemented by a Scorer that can say how many bytes it holds.
type MemoryUser interface {
	MemoryBytes() int64
}

// Info describes a detector.
type Info struct {
	Name      string
	Version   string
	Algorithm string
	Features  []Feature
	// Concurrency is how many Score calls may run at once; 0 means any number.
	Concurrency int
	// Stateful detectors remember rows: requests reach them one at a time, in order.
	Stateful bool
}

// Feature is one input column.
type Feature struct {
	Name  string
	DType DType
}

// DType is the type of a feature's values.
type DType uint8

// The types a feature may have.
const (
	Float32 DType = iota + 1
	Float64
	Int64
	String
	Bool
)

var dtypeNames = [...]string{Float32: "float32", Float64: "float64", Int64: "int64", String: "string", Bool: "bool"}

// String returns the name used in manifests.
func (d DType) String() string {
	if int(d) < len(dtypeNames) && dtypeNames[d] != "" {
		return dtypeNames[d]
	}
	return fmt.Sprintf("DType(%d)", uint8(d))
}

// Numeric reports whether d is one of the types a dense Batch may have.
func (d DType) Numeric() bool { return d == Float32 || d == Float64 || d == Int64 }

// ParseDType is the inverse of DType.String.
func ParseDType(s string) (DType, error) {
	for d, name := range dtypeNames {
		if name != "" && name == s {
			return DType(d), nil
		}
	}
	return 0, fmt.Errorf("unknown dtype %q: use float32, float64, int64, string or bool", s)
}

// RowError is one row that could not be scored.
type RowError struct {
	Row    int    // position in the batch, from 0
	Field  string // the feature at fault; empty when it is not one feature's fault
	Reason string // what to change, for people
}

// RowErrors lists the rows of a batch that could not be scored, in order.
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
