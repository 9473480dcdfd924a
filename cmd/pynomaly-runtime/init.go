package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/authoring"
)

func modelInit(s streams) *cobra.Command {
	var file string
	var o authoring.InitOptions
	cmd := &cobra.Command{
		Use:   "init FILE",
		Short: "Write a model directory for an .onnx file",
		Long: `Writes <models dir>/<id>/<version> with a copy of the file and a model.yaml derived
from the graph. With --train, a file of training rows, the rows are scored and give
the threshold, the calibration, the confidence, an explanation and golden rows.`,
		Example: "  pynomaly-runtime model init forest.onnx --id cardio --version 1.0.0 --train train.csv --contamination 0.1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, done, err := openAuthor(cmd, s, file)
			if err != nil {
				return err
			}
			defer done()
			made, err := a.Init(cmd.Context(), args[0], o)
			if err != nil {
				return err
			}
			fmt.Fprintf(s.out, "wrote %s\n", made.Dir)
			if made.Found.Rows > 0 {
				fmt.Fprintf(s.out, "%s (--contamination %g)\n", made.Found, o.Contamination)
			}
			for _, w := range made.Warnings {
				fmt.Fprintln(s.out, "warning:", w)
			}
			if !made.Threshold {
				fmt.Fprintln(s.out, "the manifest has no threshold, so no row is called an anomaly: set one, or run again with --train")
			}
			return nil
		},
	}
	hostFlags(cmd, &file)
	f := cmd.Flags()
	f.StringVar(&o.ID, "id", "", "the model's id (default: the file's name)")
	f.StringVar(&o.Version, "version", "", "the model's version (default: the version in the file's name, or 1.0.0)")
	f.StringVar(&o.Output, "output", "", "name of the score's output, if the graph has several outputs")
	f.StringVar(&o.Orientation, "orientation", "", "higher_is_anomalous or higher_is_normal (default: as the name of the graph's output says)")
	f.StringVar(&o.File, "train", "", "training rows: .csv, .ndjson, .json or .parquet")
	f.Float64Var(&o.Contamination, "contamination", 0.1, "share of anomalies in the training rows")
	return cmd
}
