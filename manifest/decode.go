package manifest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// draft is a manifest as written, before values that depend on each other are
// resolved.
type draft struct {
	*Manifest
	apiVersion, kind, unknown, orientation, learning string
	dtypes, missing                                  []any
	column                                           int
	calibration                                      Calibration
	confidence                                       Confidence
	explanation                                      Explanation
	drift                                            string
	golden                                           Golden
	reference                                        map[string]any
}

// Decode reads a model.yaml. The error is a strictyaml.Problems that lists
// everything that is wrong.
func Decode(data []byte) (*Manifest, error) {
	m := &draft{
		Manifest: Defaults(), unknown: "error", orientation: orientations[0], learning: "none",
		explanation: Explanation{Permutations: 5, Seed: 1},
		golden:      Golden{Tolerance: DefaultTolerance},
	}
	d := y.Decode(data, y.Fields{
		"apiVersion":       y.String(&m.apiVersion),
		"kind":             y.String(&m.kind),
		"id":               y.String(&m.ID),
		"version":          y.String(&m.Version),
		"description":      y.String(&m.Description),
		"algorithm":        y.String(&m.Algorithm),
		"backend":          y.String(&m.Backend),
		"artifact":         y.String(&m.Artifact),
		"digest":           y.String(&m.Digest),
		"files":            y.StringMap(&m.Files),
		"command":          y.Strings(&m.Command),
		"processes":        y.Int(&m.Processes),
		"config":           y.AnyMap(&m.Config),
		"features":         y.List(m.feature),
		"unknown_features": y.String(&m.unknown),
		"input":            y.String(&m.Input),
		"output": y.Object(y.Fields{
			"name": y.String(&m.Output.Name), "column": y.Int(&m.column), "reconstruction": y.String(&m.Output.Reconstruction),
			"orientation": y.String(&m.orientation),
		}),
		"threshold": y.OptionalFloat(&m.Threshold),
		"calibration": y.Object(y.Fields{
			"method": y.String(&m.calibration.Method), "scores": y.String(&m.calibration.Scores),
			"min": y.OptionalFloat(&m.calibration.Min), "max": y.OptionalFloat(&m.calibration.Max),
			"mean": y.OptionalFloat(&m.calibration.Mean), "std": y.OptionalFloat(&m.calibration.Std),
		}),
		"confidence": y.Object(y.Fields{
			"contamination": y.Float(&m.confidence.Contamination), "training_size": y.Int(&m.confidence.TrainingSize),
		}),
		"explanation": y.Object(y.Fields{
			"method": y.String(&m.explanation.Method), "reference": y.AnyMap(&m.reference),
			"permutations": y.Int(&m.explanation.Permutations), "seed": y.Int(&m.explanation.Seed),
		}),
		"drift":             y.Object(y.Fields{"bins": y.String(&m.drift)}),
		"golden":            y.Object(y.Fields{"rows": y.String(&m.golden.Rows), "tolerance": y.Float(&m.golden.Tolerance)}),
		"stateful":          y.Bool(&m.Stateful),
		"batch_dependent":   y.Bool(&m.BatchDependent),
		"learning":          y.String(&m.learning),
		"snapshot_interval": y.Duration(&m.SnapshotEvery),
		"trusted":           y.Bool(&m.Trusted),
		"limits": y.Object(y.Fields{
			"timeout": y.Duration(&m.Limits.Timeout), "load_timeout": y.Duration(&m.Limits.LoadTimeout),
			"max_batch_rows": y.Int(&m.Limits.MaxBatchRows), "memory": y.Bytes(&m.Limits.Memory),
		}),
		"batching": y.Object(y.Fields{"max_rows": y.Int(&m.Batching.MaxRows), "max_queue": y.Int(&m.Batching.MaxQueue)}),
		"metadata": y.AnyMap(&m.Metadata),
	})
	m.resolve(d)
	if err := d.Err(); err != nil {
		return nil, err
	}
	return m.Manifest, nil
}

// feature returns the reader of item i of features.
func (m *draft) feature(int) y.Field {
	m.Features = append(m.Features, Feature{})
	m.dtypes, m.missing = append(m.dtypes, nil), append(m.missing, nil)
	i := len(m.Features) - 1
	return func(d *y.Decoder, n *yaml.Node, path *y.Path) {
		y.Object(y.Fields{
			"name":    y.String(&m.Features[i].Name),
			"dtype":   y.Any(&m.dtypes[i]),
			"input":   y.String(&m.Features[i].Input),
			"missing": y.Any(&m.missing[i]),
		})(d, n, path)
	}
}

// resolve checks the draft and fills in what depends on other keys.
func (m *draft) resolve(d *y.Decoder) {
	m.resolveIdentity(d)
	m.resolveFeatures(d)
	m.resolveScore(d)
	m.resolveExplanation(d)
	m.resolveLimits(d)
	m.Limits.RowsGiven = d.Has("limits.max_batch_rows")
}

func (m *draft) resolveFeatures(d *y.Decoder) {
	m.IgnoreUnknown = choose(d, "unknown_features", m.unknown, "error", "ignore") == "ignore"
	if d.Has("features") && len(m.Features) == 0 {
		d.Problemf("features", "lists no feature")
	}
	if len(m.Features) > MaxFeatures {
		d.Problemf("features", "lists %d features; at most %d are served", len(m.Features), MaxFeatures)
		return
	}
	seen := map[string]int{}
	for i := range m.Features {
		f, at := &m.Features[i], fmt.Sprintf("features[%d]", i)
		switch first, twice := seen[f.Name]; {
		case f.Name == "":
			d.Problemf(at, "has no name")
		case len(f.Name) > MaxNameLength:
			d.Problemf(at+".name", "has %d bytes; at most %d are allowed", len(f.Name), MaxNameLength)
		case twice:
			d.Problemf(at+".name", "has the name %q, as features[%d] has", f.Name, first)
		}
		seen[f.Name] = i
		m.resolveInput(d, at, f)
		name, _ := m.dtypes[i].(string)
		dtype, err := sdk.ParseDType(name)
		if ofGraph := f.Input != "" && !d.Has(at+".dtype"); err != nil && !ofGraph {
			d.Problemf(at+".dtype", "must be one of float32, float64, int64, string, bool")
			continue
		}
		f.DType = dtype
		if f.Missing, err = missing(m.missing[i], dtype, d.Has(at+".missing")); err != nil {
			d.Problemf(at+".missing", "%v", err)
		}
	}
}

func missing(v any, dtype sdk.DType, given bool) (Missing, error) {
	switch {
	case !given || v == "error":
		return Missing{}, nil
	case v == "nan" || isNaN(v):
		if dtype != 0 && dtype != sdk.Float32 && dtype != sdk.Float64 {
			return Missing{}, fmt.Errorf("nan does not exist for %s: use error or a value", dtype)
		}
		return Missing{Policy: MissingIsNaN}, nil
	}
	if dtype == 0 {
		return Missing{Policy: MissingIsValue, Value: v}, nil // Typed converts it
	}
	value, err := Convert(v, dtype)
	if err != nil {
		return Missing{}, fmt.Errorf("must be error, nan or a %s: %w", dtype, err)
	}
	return Missing{Policy: MissingIsValue, Value: value}, nil
}

func isNaN(v any) bool { f, ok := v.(float64); return ok && math.IsNaN(f) }

// Convert converts a value read from YAML or JSON (float64, int64, string or bool)
// to the Go type of dtype. It refuses a value that does not fit.
func Convert(v any, dtype sdk.DType) (any, error) {
	number, isNumber := v.(float64)
	if i, ok := v.(int64); ok {
		number, isNumber = float64(i), true
		if dtype == sdk.Int64 {
			return i, nil
		}
	}
	switch dtype {
	case sdk.Float32:
		if f := float32(number); isNumber && !math.IsInf(float64(f), 0) && !math.IsNaN(number) {
			return f, nil
		}
	case sdk.Float64:
		if isNumber && !math.IsInf(number, 0) && !math.IsNaN(number) {
			return number, nil
		}
	case sdk.Int64:
		if isNumber && number == math.Trunc(number) && math.Abs(number) < 1<<63 {
			return int64(number), nil
		}
	case sdk.String:
		if s, ok := v.(string); ok && !strings.ContainsRune(s, 0) {
			return s, nil
		}
	case sdk.Bool:
		if b, ok := v.(bool); ok {
			return b, nil
		}
	}
	return nil, fmt.Errorf("%.60v is no %s", v, dtype)
}

func (m *draft) resolveExplanation(d *y.Decoder) {
	if !d.Has("explanation") {
		return
	}
	e := m.explanation
	m.Explanation = &e
	choose(d, "explanation.method", e.Method, ExplainPermutation, ExplainExact, ExplainOcclusion, ExplainNative)
	if e.Method == ExplainExact && len(m.Features) > MaxExactFeatures {
		d.Problemf("explanation.method", "exact needs 2^%d rows a request: use permutation with more than %d features",
			len(m.Features), MaxExactFeatures)
	}
	if e.Permutations < 1 || e.Permutations > MaxPermutations {
		d.Problemf("explanation.permutations", "must be 1 to %d", MaxPermutations)
	}
	if m.reference == nil {
		if e.Method != ExplainNative {
			d.Problemf("explanation", "needs reference: one value for every feature")
		}
		return
	}
	e.Reference = map[string]any{}
	m.Explanation = &e
	for _, f := range m.Features {
		v, ok := m.reference[f.Name]
		if !ok {
			d.Problemf("explanation.reference", "has no value for feature %q", f.Name)
			continue
		}
		if f.DType == 0 {
			e.Reference[f.Name] = v // Typed converts it
			continue
		}
		value, err := Convert(v, f.DType)
		if err != nil {
			d.Problemf("explanation.reference."+f.Name, "%v", err)
		}
		e.Reference[f.Name] = value
	}
	known := map[string]bool{}
	for _, f := range m.Features {
		known[f.Name] = true
	}
	for name := range m.reference {
		if !known[name] {
			d.Problemf("explanation.reference."+name, "is no feature of this model")
		}
	}
}

// choose reports a problem unless v is one of the choices.
func choose(d *y.Decoder, path, v string, choices ...string) string {
	if !slices.Contains(choices, v) {
		d.Problemf(path, "is %q; must be one of %s", v, strings.Join(choices, ", "))
	}
	return v
}
