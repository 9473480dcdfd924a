package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/authoring"
)

func modelFit(s streams) *cobra.Command {
	var file, labels string
	var compare bool
	o := authoring.DefaultFitOptions()
	names := authoring.DetectorNames()
	cmd := &cobra.Command{
		Use:   "fit " + strings.Join(names, "|"),
		Short: "Fit a detector to a file of training rows",
		Long: `Writes <models dir>/<id>/<version>: the detector as an ONNX graph (iforest, knn, lof) or as a
WASM module and its fitted parameters, and a model.yaml with threshold, calibration,
confidence and golden rows. All columns of the file are features that are numbers, except
those that --exclude and --categorical name. With --compare it writes nothing: it fits each
detector named (all, if none is) and prints what they flag and cost, side by side.`,
		Example:   "  pynomaly-runtime model fit iforest --data train.csv --id pima\n  pynomaly-runtime model fit --compare iforest lof knn --data train.csv --labels label",
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, done, err := openAuthor(cmd, s, file)
			if err != nil {
				return err
			}
			defer done()
			if compare {
				return a.Compare(cmd.Context(), s.out, args, labels, o)
			}
			return a.FitNamed(cmd.Context(), s.out, args, labels, o)
		},
	}
	hostFlags(cmd, &file)
	f := cmd.Flags()
	o.Flags(f)
	f.BoolVar(&compare, "compare", false, "fit the detectors that are named, or all, and print them side by side")
	f.StringVar(&labels, "labels", "", "with --compare: column that is 1 or true for anomalies")
	_ = cmd.MarkFlagRequired("data")
	return cmd
}
