// Package manifest reads model.yaml: it decodes strictly, fills in defaults, names
// every problem with its line, and has the JSON Schema that editors use.
//
// It reads the text alone. The runtime and its backends find out whether the
// artifact exists and does what the manifest says.
package manifest

import (
	"regexp"
	"time"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// FileName is the name of a manifest in a model's version directory.
const FileName = "model.yaml"

// The only values of apiVersion and kind.
const (
	APIVersion = "pynomaly.io/v1"
	Kind       = "Model"
)

// Manifest is a decoded and validated model.yaml with its defaults filled in. It is
// not changed after it was read: With, Clone and Lowered return copies.
type Manifest struct {
	ID          string
	Version     string // semantic version without build metadata
	Description string
	Algorithm   string
	Backend     string // BackendONNX, BackendWASM or BackendProcess
	Artifact    string // file name inside the model's directory
	Digest      string // "sha256:" and 64 hex digits, or empty
	Files       map[string]string
	Command     []string
	Processes   int // processes of a process plugin; 0: 1
	Config      map[string]any

	Features       []Feature // in column order; empty: the artifact's features
	IgnoreUnknown  bool      // ignore unknown features instead of refusing them
	Input          string
	Output         Output
	Threshold      *float64 // for the oriented score; nil: no row is called an anomaly
	Calibration    *Calibration
	Confidence     *Confidence
	Explanation    *Explanation
	DriftBins      string
	Golden         *Golden
	Stateful       bool
	BatchDependent bool
	LearnOnline    bool
	SnapshotEvery  time.Duration
	// Trusted allows operators whose output size depends on data. From Decode it is
	// only a request. When the host opens the model, it is what the host grants.
	Trusted  bool
	Limits   Limits
	Batching Batching
	Metadata map[string]any
	Derived  bool     // made for a bare file
	Warnings []string // what could not be derived, or is not granted
}

// The backends that a manifest may name.
const (
	BackendONNX    = "onnx"
	BackendWASM    = "wasm"
	BackendProcess = "process"
)

// MaxProcesses is the largest value of Processes.
const MaxProcesses = 64

// Feature is an input column and the rule for missing values.
type Feature struct {
	sdk.Feature        // DType is 0 if the graph's input is to say it
	Input       string // of the graph; empty: the input of the feature's name, or the only one
	Missing     Missing
}

// MissingPolicy says what replaces a missing value.
type MissingPolicy int

// The policies of a feature's missing key.
const (
	MissingIsError MissingPolicy = iota
	MissingIsNaN
	MissingIsValue
)

// Missing is the missing key of a feature.
type Missing struct {
	Policy MissingPolicy
	Value  any // for MissingIsValue: float32, float64, int64, string or bool, by the dtype
}

// The values of output.reconstruction.
const (
	ReconstructionMSE = "mse" // the mean of the squared differences
	ReconstructionMAE = "mae" // the mean of the absolute differences
)

// Output says which output is the score and how it is oriented.
type Output struct {
	Name string
	// Column is the score's column of an output with several values per row, from 0;
	// nil: the output has one value per row.
	Column *int
	// Reconstruction, unless empty, says that the output rebuilds the row, and how
	// the difference to the row becomes the score.
	Reconstruction string
	HigherIsNormal bool
	Directed       bool // in a manifest that was made for a bare file: the orientation is known
}

// Sign returns the factor that orients a raw score, so that larger means more
// anomalous.
func (o Output) Sign() float64 {
	if o.HigherIsNormal {
		return -1
	}
	return 1
}

// The calibration methods.
const (
	CalibrateLinear  = "linear"
	CalibrateUnify   = "unify"
	CalibrateECDF    = "ecdf"
	CalibrateMidrank = "ecdf_midrank"
)

// Calibration maps oriented scores to 0..1. Nil values are computed from Scores.
type Calibration struct {
	Method              string
	Min, Max, Mean, Std *float64
	Scores              string // file of sorted little-endian float64 numbers
}

// Confidence has ExCeeD's parameters. Its scores are Calibration.Scores.
type Confidence struct {
	Contamination float64
	TrainingSize  int // 0: the number of scores in the file
}

// The explanation methods.
const (
	ExplainPermutation = "permutation"
	ExplainExact       = "exact"
	ExplainOcclusion   = "occlusion"
	ExplainNative      = "native"
)

// MaxExactFeatures is the largest number of features for exact Shapley values, which
// need 2^d rows.
const MaxExactFeatures = 10

// Explanation says how scores are attributed to features.
type Explanation struct {
	Method       string
	Reference    map[string]any // a value for every feature, in the dtype's Go type
	Permutations int
	Seed         int64
}

// Golden names golden rows: rows stored with their scores, which the model must
// reproduce.
type Golden struct {
	Rows      string
	Tolerance float64
}

// DefaultTolerance is how far two scores may differ, relative to the larger of 1 and
// the expected score.
const DefaultTolerance = 1e-5

// GoldenTolerance returns Golden.Tolerance, or DefaultTolerance without golden rows.
func (m *Manifest) GoldenTolerance() float64 {
	if m.Golden != nil {
		return m.Golden.Tolerance
	}
	return DefaultTolerance
}

// Limits bound what a model may use.
type Limits struct {
	Timeout      time.Duration // of one call of the scorer
	LoadTimeout  time.Duration
	MaxBatchRows int   // rows per call
	RowsGiven    bool  // MaxBatchRows is the manifest's; else backends may lower it to what fits the memory
	Memory       int64 // bytes
}

// Batching bounds how rows of several requests are merged into a call.
type Batching struct {
	MaxRows  int
	MaxQueue int
}

// Defaults returns a manifest of default values.
func Defaults() *Manifest {
	return &Manifest{
		Backend:       BackendONNX,
		SnapshotEvery: 5 * time.Minute,
		Limits:        Limits{Timeout: 2 * time.Second, LoadTimeout: 30 * time.Second, MaxBatchRows: 10000, Memory: 256 << 20},
		Batching:      Batching{MaxRows: 1024, MaxQueue: 4096},
	}
}

// SDKFeatures returns the features as a Batch needs them.
func (m *Manifest) SDKFeatures() []sdk.Feature {
	out := make([]sdk.Feature, len(m.Features))
	for i, f := range m.Features {
		out[i] = f.Feature
	}
	return out
}

var (
	idPattern     = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9\-_]*$`)
	digestPattern = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// MaxIDLength is the largest length of a model id in bytes.
const MaxIDLength = 128

// ValidDigest reports whether s is "sha256:" and 64 hex digits.
func ValidDigest(s string) bool { return digestPattern.MatchString(s) }

// ValidID reports whether s may be a model's id.
func ValidID(s string) bool { return len(s) <= MaxIDLength && idPattern.MatchString(s) }
