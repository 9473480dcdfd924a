package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/backends/all"
	"github.com/pynomaly/pynomaly-runtime/internal/authoring"
	"github.com/pynomaly/pynomaly-runtime/internal/commands"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

func modelCommand(s streams) *cobra.Command {
	return commands.Group(&cobra.Command{Use: "model", Short: "Fit, init, list, inspect, verify, calibrate, push and pull models"},
		modelList(s), modelInspect(s), modelVerify(s), modelInit(s), modelFit(s), modelCalibrate(s), modelSchema(s), modelPush(s), modelPull(s))
}

func modelSchema(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of model.yaml", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := s.out.Write(manifest.Schema())
			return err
		},
	}
}

// hostFlags adds the flags that commands on models need.
func hostFlags(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "configuration file (default: none)")
	config.AddFlags(cmd.Flags(), "models", "onnxruntime", "onnx-forests", "onnx-probe", "onnx-trusted", "wasm-cache-dir", "wasm-max-memory", "state-dir")
}

func modelList(s streams) *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the models of a directory, without loading them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := readConfig(cmd, file)
			if err != nil {
				return err
			}
			named, err := namedBy(cfg)
			if err != nil {
				return err
			}
			out, err := store(cfg).List(named, all.Check)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(s.out)
				enc.SetIndent("", "  ")
				return enc.Encode(out)
			}
			return printModels(s.out, out)
		},
	}
	hostFlags(cmd, &file)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printModels prints a list as a table, and what is missing below it.
func printModels(to io.Writer, list *api.ModelList) error {
	w := tabwriter.NewWriter(to, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "MODEL\tVERSION\tBACKEND\tSTATUS\tALGORITHM")
	for _, v := range list.Models {
		what, status := v.Algorithm, v.Status
		if v.Error != "" {
			what = v.Error
		}
		if v.Failure == string(registry.FailureSurroundings) {
			status = "unreadable" // for now: it may be a valid model
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.ModelID, printable.Line(v.Version), v.Backend, status, printable.Line(what))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, why := range list.Problems {
		fmt.Fprintf(to, "problem: %s\n", printable.Line(why))
	}
	return nil
}

func modelInspect(s streams) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "inspect MODEL", Short: "Print a model's manifest, derived from the artifact if there is none", Args: cobra.ExactArgs(1), ValidArgsFunction: completeModels,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, done, err := openAuthor(cmd, s, file)
			if err != nil {
				return err
			}
			defer done()
			at, err := a.Store.Resolve(args[0])
			if err != nil {
				return err
			}
			m, digest, err := at.Inspect(cmd.Context(), a.With)
			if err != nil {
				return err
			}
			m = m.Clone()
			m.Digest = digest
			if m.Derived {
				fmt.Fprintf(s.out, "# derived from %s\n", printable.Line(m.Artifact))
			}
			warnings := m.Warnings
			if v, err := a.Verify(cmd.Context(), at); err != nil {
				warnings = append(warnings, "hosts refuse it: "+err.Error())
			} else {
				warnings, m.Limits = v.Warnings, v.Limits
				fmt.Fprint(s.out, v.About("# "))
			}
			for _, w := range warnings {
				fmt.Fprintf(s.out, "# warning: %s\n", printable.Line(w))
			}
			text, err := manifest.Encode(m)
			if err == nil {
				_, err = s.out.Write(text)
			}
			return err
		},
	}
	hostFlags(cmd, &file)
	return cmd
}

func modelVerify(s streams) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "verify PATH...",
		Short: "Load and probe models as the host does, and report what is wrong",
		Long: `Checks every model that the paths name: a directory of models, a model's directory
or a bare file. It reads, checks, loads and probes each model, including golden rows.

Exit codes: 0 every model can be served, 1 one cannot.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, done, err := openAuthor(cmd, s, file)
			if err != nil {
				return err
			}
			defer done()
			good, total := 0, 0
			err = a.VerifyAll(cmd.Context(), args, func(name string, v *authoring.Verdict, err error) {
				total++
				if err != nil {
					fmt.Fprintf(s.out, "FAIL  %s: %s\n", printable.Line(name), printable.Line(err.Error()))
					return
				}
				good++
				fmt.Fprintf(s.out, "ok    %s: %s %s, %d features, %s, %d ms\n", printable.Line(name), v.ID, v.Version, v.Features, v.Rows, v.Took.Milliseconds())
				v.WarnTo(s.out)
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(s.out, "%d of %d models can be served\n", good, total)
			if good < total {
				return exitError(1)
			}
			return nil
		},
	}
	hostFlags(cmd, &file)
	return cmd
}

func modelCalibrate(s streams) *cobra.Command {
	var file string
	var t authoring.Training
	cmd := &cobra.Command{
		Use:   "calibrate DIR",
		Short: "Write into a model.yaml what follows from training rows",
		Long: `Scores training rows with the model of a directory, or of a plugin's project, and writes
threshold, calibration, confidence, golden rows and bins of scores into its model.yaml and
beside it. The rest of the model.yaml stays as it is written. The model's program may run.`,
		Example: "  pynomaly-runtime model calibrate my-detector --train train.csv --contamination 0.05",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, at, done, err := openPlugin(cmd, s, file, args[0])
			if err != nil {
				return err
			}
			defer done()
			made, err := a.Calibrate(cmd.Context(), at, t)
			if err == nil {
				_, err = fmt.Fprintf(s.out, "wrote %s\n%s\n", filepath.Join(at.Dir, at.Path(), manifest.FileName), made)
			}
			return err
		},
	}
	hostFlags(cmd, &file)
	t.AddCalibrateFlags(cmd.Flags())
	_ = cmd.MarkFlagRequired("train")
	return cmd
}
