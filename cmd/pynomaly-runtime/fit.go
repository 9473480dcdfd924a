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
			made, err := a.Fit(cmd.Context(), plugins.All()[at], o)
			if err != nil {
				return err
			}
			return made.Report(s.out)
		},
	}
	hostFlags(cmd, &file)
	f := cmd.Flags()
	o.AddFlags(f)
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
