package manifest

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// document has a manifest's keys in the order in which they are written.
type document struct {
	APIVersion  string            `yaml:"apiVersion"`
	Kind        string            `yaml:"kind"`
	ID          string            `yaml:"id"`
	Version     string            `yaml:"version"`
	Description string            `yaml:"description,omitempty"`
	Algorithm   string            `yaml:"algorithm,omitempty"`
	Backend     string            `yaml:"backend"`
	Artifact    string            `yaml:"artifact,omitempty"`
	Digest      string            `yaml:"digest,omitempty"`
	Files       map[string]string `yaml:"files,omitempty"`
	Command     []string          `yaml:"command,omitempty,flow"`
	Processes   int               `yaml:"processes,omitempty"`
	Config      map[string]any    `yaml:"config,omitempty"`
	Features    []docFeature      `yaml:"features,omitempty"`
	Unknown     string            `yaml:"unknown_features,omitempty"`
	Input       string            `yaml:"input,omitempty"`
	Output      docOutput         `yaml:"output,flow"`
	Threshold   *float64          `yaml:"threshold,omitempty"`
	Calibration *docCalibration   `yaml:"calibration,omitempty,flow"`
	Confidence  *docConfidence    `yaml:"confidence,omitempty,flow"`
	Explanation *docExplanation   `yaml:"explanation,omitempty"`
	Drift       *docDrift         `yaml:"drift,omitempty,flow"`
	Golden      *docGolden        `yaml:"golden,omitempty,flow"`
	Stateful    bool              `yaml:"stateful,omitempty"`
	Dependent   bool              `yaml:"batch_dependent,omitempty"`
	Learning    string            `yaml:"learning,omitempty"`
	Snapshot    string            `yaml:"snapshot_interval,omitempty"`
	Trusted     bool              `yaml:"trusted,omitempty"`
	Limits      docLimits         `yaml:"limits,flow"`
	Batching    *docBatching      `yaml:"batching,omitempty,flow"`
	Metadata    map[string]any    `yaml:"metadata,omitempty"`
}

type docFeature struct {
	Name    string `yaml:"name"`
	DType   string `yaml:"dtype,omitempty"`
	Input   string `yaml:"input,omitempty"`
	Missing any    `yaml:"missing,omitempty"`
}

type docOutput struct {
	Name           string `yaml:"name,omitempty"`
	Column         *int   `yaml:"column,omitempty"`
	Reconstruction string `yaml:"reconstruction,omitempty"`
	Orientation    string `yaml:"orientation"`
}

type docCalibration struct {
	Method string   `yaml:"method"`
	Min    *float64 `yaml:"min,omitempty"`
	Max    *float64 `yaml:"max,omitempty"`
	Mean   *float64 `yaml:"mean,omitempty"`
	Std    *float64 `yaml:"std,omitempty"`
	Scores string   `yaml:"scores,omitempty"`
}

type docConfidence struct {
	Contamination float64 `yaml:"contamination"`
	TrainingSize  int     `yaml:"training_size,omitempty"`
}

type docExplanation struct {
	Method       string         `yaml:"method"`
	Reference    map[string]any `yaml:"reference,omitempty,flow"`
	Permutations int            `yaml:"permutations,omitempty"`
	Seed         int64          `yaml:"seed,omitempty"`
}

type docDrift struct {
	Bins string `yaml:"bins"`
}

type docGolden struct {
	Rows      string  `yaml:"rows"`
	Tolerance float64 `yaml:"tolerance"`
}

type docLimits struct {
	Timeout      string `yaml:"timeout"`
	LoadTimeout  string `yaml:"load_timeout"`
	MaxBatchRows int    `yaml:"max_batch_rows,omitempty"`
	Memory       string `yaml:"memory"`
}

type docBatching struct {
	MaxRows  int `yaml:"max_rows"`
	MaxQueue int `yaml:"max_queue"`
}

// limits returns what a manifest says of limits.
func limits(l Limits) docLimits {
	d := docLimits{l.Timeout.String(), l.LoadTimeout.String(), l.MaxBatchRows, y.FormatBytes(l.Memory)}
	if !l.RowsGiven {
		d.MaxBatchRows = 0
	}
	return d
}

// Encode writes a manifest as model.yaml. Decode reads it back.
func Encode(m *Manifest) ([]byte, error) {
	d := document{
		APIVersion: APIVersion, Kind: Kind, ID: m.ID, Version: m.Version, Description: m.Description, Algorithm: m.Algorithm,
		Backend: m.Backend, Artifact: m.Artifact, Digest: m.Digest, Files: m.Files, Command: m.Command, Processes: m.Processes, Config: m.Config,
		Input: m.Input, Output: docOutput{m.Output.Name, m.Output.Column, m.Output.Reconstruction, orientations[0]}, Threshold: m.Threshold, Stateful: m.Stateful,
		Dependent: m.BatchDependent, Trusted: m.Trusted, Metadata: m.Metadata,
		Limits: limits(m.Limits),
	}
	if m.Output.HigherIsNormal {
		d.Output.Orientation = orientations[1]
	}
	if m.IgnoreUnknown {
		d.Unknown = "ignore"
	}
	if m.LearnOnline {
		d.Learning = "online"
	}
	usual := Defaults()
	if m.SnapshotEvery != usual.SnapshotEvery {
		d.Snapshot = m.SnapshotEvery.String()
	}
	if m.Batching != usual.Batching {
		d.Batching = &docBatching{m.Batching.MaxRows, m.Batching.MaxQueue}
	}
	for _, f := range m.Features {
		d.Features = append(d.Features, f.document())
	}
	if c := m.Calibration; c != nil {
		d.Calibration = &docCalibration{c.Method, c.Min, c.Max, c.Mean, c.Std, c.Scores}
	}
	if c := m.Confidence; c != nil {
		d.Confidence = &docConfidence{c.Contamination, c.TrainingSize}
	}
	if e := m.Explanation; e != nil {
		d.Explanation = &docExplanation{e.Method, e.Reference, e.Permutations, e.Seed}
	}
	if m.DriftBins != "" {
		d.Drift = &docDrift{m.DriftBins}
	}
	if g := m.Golden; g != nil {
		d.Golden = &docGolden{g.Rows, g.Tolerance}
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(d); err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	return out.Bytes(), nil
}

func (f *Feature) document() docFeature {
	d := docFeature{Name: f.Name, Input: f.Input}
	if f.DType != 0 {
		d.DType = f.DType.String()
	}
	switch f.Missing.Policy {
	case MissingIsNaN:
		d.Missing = "nan"
	case MissingIsValue:
		d.Missing = f.Missing.Value
	case MissingIsError:
	}
	return d
}
