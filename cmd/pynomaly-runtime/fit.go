package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/authoring"
	"github.com/pynomaly/pynomaly-runtime/plugins"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
)

func modelFit(s streams) *cobra.Command {
	var file string
	o := authoring.FitOptions{Options: fit.DefaultOptions()}
	var names []string
	for _, r := range plugins.All() {
		names = append(names, r.Name)
	}
	cmd := &cobra.Command{
		Use:   "fit " + strings.Join(names, "|"),
		Short: "Fit a reference detector to a CSV of training rows",
		Long: `Writes <models dir>/<id>/<version>: the detector as a WASM module, its fitted parameters,
and a model.yaml with threshold, calibration, confidence and golden rows. All columns of
the file are float64 features, except those that --exclude names.`,
		Example: "  pynomaly-runtime model fit ecod --data train.csv --id pima",
		Args:    cobra.ExactArgs(1), ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			at := slices.Index(names, args[0])
			if at < 0 {
				return fmt.Errorf("there is no detector %q: choose one of %s", args[0], strings.Join(names, ", "))
			}
			a, done, err := openAuthor(cmd, s, file)
			if err != nil {
				return err
			}
			defer done()
			r := plugins.All()[at]
			made, err := a.Fit(cmd.Context(), r, o)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "wrote %s: %s, fitted to %d rows of %d features\n%s (--contamination %g)\n", made.Dir, r.Algorithm, made.Rows, made.Features, made.Found, o.Contamination)
			return err
		},
	}
	hostFlags(cmd, &file)
	f := cmd.Flags()
	f.StringVar(&o.File, "data", "", "training rows: .csv, .ndjson, .json or .parquet (required)")
	f.StringVar(&o.ID, "id", "", "the model's id (required)")
	f.StringVar(&o.Version, "version", "1.0.0", "the model's version")
	f.Float64Var(&o.Contamination, "contamination", 0.1, "share of anomalies in the training rows")
	f.StringSliceVar(&o.Exclude, "exclude", nil, "columns that are not features, such as a label")
	f.StringVar(&o.Detectors, "detectors", "", "folder of the detectors' modules (default: plugins beside the binary)")
	f.IntVar(&o.Bins, "bins", o.Bins, "hbos: bins of a histogram")
	f.StringVar(&o.Compat, "compat", "", "hbos: pyod, for PyOD's scores of values on the edges of bins")
	f.IntVar(&o.Trees, "trees", o.Trees, "hstrees: number of trees")
	f.IntVar(&o.Height, "height", o.Height, "hstrees: height of a tree")
	f.IntVar(&o.Window, "window", o.Window, "hstrees: rows of a window")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "hstrees: seed of the trees")
	for _, name := range []string{"data", "id"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}
