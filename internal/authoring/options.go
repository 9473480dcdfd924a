package authoring

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// Training names the rows that a model is fitted or calibrated to.
type Training struct {
	File          string   // CSV, NDJSON, a JSON array or Parquet, as its name says
	Contamination float64  // share of anomalies in the rows
	Exclude       []string // columns that are no features
	Missing       string   // error, nan or a value, which replaces what is missing; empty: error
	DropRows      bool     // the model keeps none of the rows
}

// AddFlags adds the flags of everything but the file.
func (t *Training) AddFlags(f *pflag.FlagSet) {
	f.Float64Var(&t.Contamination, "contamination", 0.1, "share of anomalies in the training rows")
	f.StringSliceVar(&t.Exclude, "exclude", nil, "columns that are not features, such as a label")
	f.StringVar(&t.Missing, "missing", "", "what replaces missing values: nan, or a value (default: error, they fail their row)")
	t.addKeepRows(f)
}

func (t *Training) addKeepRows(f *pflag.FlagSet) {
	f.VarPF((*not)(&t.DropRows), "keep-rows", "", "keep some training rows in the model: golden rows, and a reference row for explanations").NoOptDefVal = "true"
}

// AddCalibrateFlags adds the flags of Calibrate.
func (t *Training) AddCalibrateFlags(f *pflag.FlagSet) {
	f.StringVar(&t.File, "train", "", "training rows: .csv, .ndjson, .json or .parquet (required)")
	f.Float64Var(&t.Contamination, "contamination", 0, "share of anomalies in the training rows (default: that in model.yaml, or 0.1)")
	t.addKeepRows(f)
}

func (t *Training) check() error {
	if !(t.Contamination > 0 && t.Contamination <= 0.5) { // excludes NaN
		return errors.New("--contamination must be above 0 and at most 0.5")
	}
	return nil
}

// not is a flag that sets the opposite of its value.
type not bool

// String implements pflag.Value.
func (n *not) String() string { return strconv.FormatBool(n == nil || !bool(*n)) }

// Set implements pflag.Value.
func (n *not) Set(text string) error {
	v, err := strconv.ParseBool(text)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", text)
	}
	*n = not(!v)
	return nil
}

// Type implements pflag.Value.
func (n *not) Type() string { return "bool" }

// InitOptions say what Init writes.
type InitOptions struct {
	ID, Version    string   // empty: as the file's or directory's name says; version 1.0.0 where it says none
	Output         string   // of the graph, that is the score; empty: the only one
	Column         *int     // of the output, that is the score; nil: the output has one
	Reconstruction string   // manifest.ReconstructionMSE or MAE, for an output that rebuilds the row
	Orientation    string   // manifest.HigherIsAnomalous or HigherIsNormal; empty: as the graph says
	Features       []string // names, in the order of the graph; none: those of the graph or of the training rows
	Training                // no File: nothing is calibrated
}

// AddFlags adds the flags that set the options.
func (o *InitOptions) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.ID, "id", "", "the model's id (default: the file's name)")
	f.StringVar(&o.Version, "version", "", "the model's version (default: the version in the file's name, or 1.0.0)")
	f.StringVar(&o.Output, "output", "", "name of the score's output, if the graph has several outputs")
	f.Func("column", "the column of the output whose values are higher for anomalies, from 0, if the output has several", func(text string) error {
		v, err := strconv.Atoi(text)
		if err != nil || v < 0 {
			return errors.New("it must be a whole number, from 0")
		}
		o.Column = &v
		return nil
	})
	f.StringVar(&o.Reconstruction, "reconstruction", "", "mse or mae: the output rebuilds the row, and the error is the score")
	f.StringVar(&o.Orientation, "orientation", "", "higher_is_anomalous or higher_is_normal (default: as the name of the graph's output says)")
	f.StringSliceVar(&o.Features, "features", nil, "names of the features, in the order of the graph (default: the graph's, or the columns of the training rows)")
	f.StringVar(&o.File, "train", "", "training rows: .csv, .ndjson, .json or .parquet")
	o.Training.AddFlags(f)
}

func (o *InitOptions) check() error {
	switch {
	case o.Orientation != "" && o.Orientation != manifest.HigherIsAnomalous && o.Orientation != manifest.HigherIsNormal:
		return fmt.Errorf("--orientation is %q: it must be %s or %s", o.Orientation, manifest.HigherIsAnomalous, manifest.HigherIsNormal)
	case o.Reconstruction != "" && o.Reconstruction != manifest.ReconstructionMSE && o.Reconstruction != manifest.ReconstructionMAE:
		return fmt.Errorf("--reconstruction is %q: it must be %s or %s", o.Reconstruction, manifest.ReconstructionMSE, manifest.ReconstructionMAE)
	case o.Reconstruction != "" && o.Column != nil:
		return errors.New("--reconstruction takes all columns of the output: leave out --column")
	}
	return o.Training.check()
}

// apply writes the options about the output into a manifest.
func (o *InitOptions) apply(m *manifest.Manifest) {
	if o.Output != "" {
		m.Output.Name = o.Output
	}
	if o.Column != nil {
		m.Output.Column = o.Column
	}
	if o.Reconstruction != "" {
		m.Output.Reconstruction = o.Reconstruction
	}
	if o.Orientation != "" {
		m.Output.HigherIsNormal, m.Output.Directed = o.Orientation == manifest.HigherIsNormal, true
	}
}
