package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/authoring"
	"github.com/pynomaly/pynomaly-runtime/internal/commands"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/conformance"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/plugindev"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	processsdk "github.com/pynomaly/pynomaly-runtime/sdk/process"
)

func pluginCommand(s streams) *cobra.Command {
	return commands.Group(&cobra.Command{Use: "plugin", Short: "Write your own detectors: new, build, test, bench, pack"},
		pluginNew(s), pluginBuild(s), pluginTest(s), pluginBench(s), pluginPack(s))
}

func pluginNew(s streams) *cobra.Command {
	var language, dir string
	var process bool
	cmd := &cobra.Command{
		Use: "new NAME", Short: "Create a project that builds, with a test and a model", Args: cobra.ExactArgs(1),
		Example: "  pynomaly-runtime plugin new --lang rust my-detector\n  pynomaly-runtime plugin new --lang python --process my-detector",
		RunE: func(_ *cobra.Command, args []string) error {
			to := dir
			if to == "" {
				to = args[0]
			}
			if err := plugindev.New(plugindev.Sources{SDK: sdk.Source, Process: processsdk.Source}, language, process, args[0], to); err != nil {
				return err
			}
			_, err := fmt.Fprintf(s.out, "wrote %s: read %s, then\n  pynomaly-runtime plugin build %[1]s && pynomaly-runtime plugin test %[1]s\n", to, filepath.Join(to, "README.md"))
			return err
		},
	}
	cmd.Flags().StringVar(&language, "lang", "go", "language: "+strings.Join(plugindev.Names(false), ", ")+"; with --process: "+strings.Join(plugindev.Names(true), ", "))
	cmd.Flags().BoolVar(&process, "process", false, "create a program, for what a sandbox cannot do, instead of a WASM module")
	cmd.Flags().StringVar(&dir, "dir", "", "folder to create (default: the name)")
	return cmd
}

func pluginBuild(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "build [DIR]", Short: "Build a project's module with its language's tools", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			built, err := plugindev.Build(cmd.Context(), folder(args), s.err)
			if err == nil {
				_, err = fmt.Fprintln(s.out, built)
			}
			return err
		},
	}
}

func folder(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

func pluginTest(s streams) *cobra.Command {
	var file string
	var calls int
	cmd := &cobra.Command{
		Use:   "test [DIR|FILE]",
		Short: "Run the conformance kit on a project, a model's directory or a bare module",
		Long: `Checks what the host relies on: repeated calls, rows alone and in batches, empty and
large batches, missing values, concurrent calls, reopening, error texts, leaks.

Exit codes: 0 every check passed, 1 one did not.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, at, done, err := openPlugin(cmd, s, file, folder(args))
			if err != nil {
				return err
			}
			defer done()
			// The host's own checks come first: digests, probe, golden rows.
			if err := a.Check(cmd.Context(), s.out, at); err != nil {
				return err
			}
			return conformance.Report(cmd.Context(), s.out, at, a.With, calls)
		},
	}
	hostFlags(cmd, &file)
	cmd.Flags().IntVar(&calls, "calls", 0, "calls of the check for leaks (default 10000)")
	return cmd
}

// openPlugin finds the model of a project, a model's directory or a bare file, and
// opens the backends for it.
func openPlugin(cmd *cobra.Command, s streams, file, path string) (authoring.Author, modelstore.Place, func(), error) {
	var at modelstore.Place
	path, err := plugindev.ModelPath(path)
	if err != nil {
		return authoring.Author{}, at, nil, err
	}
	a, done, err := openAuthor(cmd, s, file, func(cfg *config.Config) (err error) {
		if at, err = store(cfg).FindOne(path); err == nil {
			cfg.TrustProgram(filepath.Join(at.Dir, at.Location.Dir)) // its author has named it
		}
		return err
	})
	return a, at, done, err
}

func pluginPack(s streams) *cobra.Command {
	var file, id, version string
	cmd := &cobra.Command{
		Use:   "pack [DIR]",
		Short: "Copy a project's model to a directory that a host serves",
		Long: `Copies the project's model folder to <models dir>/<id>/<version>, with the digests of
its module and files in model.yaml, after it has loaded and answered its golden rows.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, at, done, err := openPlugin(cmd, s, file, folder(args))
			if err != nil {
				return err
			}
			defer done()
			if err := a.Check(cmd.Context(), s.out, at); err != nil {
				return err
			}
			dir, err := a.Pack(cmd.Context(), at, id, version)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(s.out, "wrote %s\n", dir)
			return err
		},
	}
	hostFlags(cmd, &file)
	cmd.Flags().StringVar(&id, "id", "", "the model's id (default: the manifest's)")
	cmd.Flags().StringVar(&version, "version", "", "the model's version (default: the manifest's)")
	return cmd
}

func pluginBench(s streams) *cobra.Command {
	var file string
	var lasting time.Duration
	cmd := &cobra.Command{
		Use: "bench [DIR|FILE]", Short: "Time a plugin: rows per second by batch size, loading, memory", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, at, done, err := openPlugin(cmd, s, file, folder(args))
			if err != nil {
				return err
			}
			defer done()
			return conformance.Bench(cmd.Context(), s.out, at, a.With, lasting)
		},
	}
	hostFlags(cmd, &file)
	cmd.Flags().DurationVar(&lasting, "duration", time.Second, "time for each batch size")
	return cmd
}
