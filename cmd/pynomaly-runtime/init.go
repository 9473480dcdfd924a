package main

import (
	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/authoring"
)

func modelInit(s streams) *cobra.Command {
	var file string
	var o authoring.InitOptions
	cmd := &cobra.Command{
		Use:   "init FILE|DIRECTORY",
		Short: "Write a model directory for an .onnx file, or complete one",
		Long: `Writes <models dir>/<id>/<version> with a copy of the file and a model.yaml derived
from the graph. With --train, a file of training rows, the rows are scored and give
the threshold, the calibration, the confidence, an explanation and golden rows.

For a directory with a model.yaml, init adds to it what is missing, and keeps what it says.`,
		Example: `  pynomaly-runtime model init forest.onnx --id cardio --version 1.0.0 --train train.csv --contamination 0.1
  pynomaly-runtime model init classifier.onnx --column 1 --train train.csv --exclude label
  pynomaly-runtime model init autoencoder.onnx --reconstruction mse --train train.csv --missing nan
  pynomaly-runtime model init models/cardio/1.0.0 --train train.csv`,
		Args: cobra.ExactArgs(1),
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
			return made.Report(s.out)
		},
	}
	hostFlags(cmd, &file)
	o.AddFlags(cmd.Flags())
	return cmd
}
