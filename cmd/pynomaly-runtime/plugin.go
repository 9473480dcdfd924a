package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/conformance"
	"github.com/pynomaly/pynomaly-runtime/internal/plugindev"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	host "github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	processsdk "github.com/pynomaly/pynomaly-runtime/sdk/process"
	"github.com/pynomaly/pynomaly-runtime/sdk/sdktest"
)

func pluginCommand(s streams) *cobra.Command {
	return group(&cobra.Command{Use: "plugin", Short: "Write detectors of your own: new, build, test, bench, pack"},
		pluginNew(s), pluginBuild(s), pluginTest(s), pluginBench(s), pluginPack(s))
}

func pluginNew(s streams) *cobra.Command {
	var language, dir string
	var process bool
	cmd := &cobra.Command{
		Use: "new NAME", Short: "Write a project that builds, with a test and a model to try", Args: cobra.ExactArgs(1),
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
	cmd.Flags().BoolVar(&process, "process", false, "a program of its own, for what a sandbox cannot give, in place of a WASM module")
	cmd.Flags().StringVar(&dir, "dir", "", "folder to make (default: the name)")
	return cmd
}

func pluginBuild(s streams) *cobra.Command {
	return &cobra.Command{
		Use: "build [DIR]", Short: "Build a project's module with its language's own tools", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			start := time.Now()
			module, err := plugindev.Build(cmd.Context(), folder(args), s.err)
			if err != nil {
				return err
			}
			info, err := os.Stat(module)
			if err != nil {
				return fmt.Errorf("looking at the module: %w", err)
			}
			_, err = fmt.Fprintf(s.out, "built %s: %d bytes in %.1f s\n", module, info.Size(), time.Since(start).Seconds())
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

// pluginPlace finds the model of a project, a model's directory or a bare file.
func pluginPlace(cfg *config.Config, path string) (host.Place, error) {
	if l, err := plugindev.Detect(path); err == nil {
		path = filepath.Join(path, plugindev.ModelDir)
		if _, err := os.Stat(filepath.Join(path, l.Artifact)); err != nil {
			return host.Place{}, fmt.Errorf("%s is not there: run `plugin build` first", filepath.Join(path, l.Artifact))
		}
	}
	all, err := find(cfg, path)
	if err != nil {
		return host.Place{}, err
	}
	if len(all) != 1 {
		return host.Place{}, fmt.Errorf("%s holds %d models: name one of them", path, len(all))
	}
	return all[0], nil
}

func pluginTest(s streams) *cobra.Command {
	var file string
	var calls int
	cmd := &cobra.Command{
		Use:   "test [DIR|FILE]",
		Short: "Run the conformance kit on a project, a model's directory or a bare module",
		Long: `Checks what the host relies on: repeated calls, rows alone and in batches, empty and
large batches, missing values, concurrent calls, opening again, error texts, leaks.

Exit codes: 0 every check passed, 1 one did not.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, with, done, err := openPlugin(cmd, s, file, folder(args))
			if err != nil {
				return err
			}
			defer done()
			// First as the host does: digests, probe, golden rows.
			if err := verify(cmd.Context(), s, at, with); err != nil {
				return err
			}
			open, o, err := conformance.Model(cmd.Context(), at, with)
			if err != nil {
				return err
			}
			o.Calls = calls
			err = sdktest.Report(cmd.Context(), open, o, func(out sdktest.Outcome) {
				word, more := "ok  ", ""
				switch {
				case out.Err != nil:
					word, more = "FAIL", ": "+printable.Line(out.Err.Error())
				case out.Skipped != "":
					word, more = "-   ", ": "+out.Skipped
				}
				fmt.Fprintf(s.out, "%s  %s (%d ms)%s\n", word, out.Name, out.Took.Milliseconds(), more)
			})
			if err == nil {
				fmt.Fprintln(s.out, "the plugin conforms")
			}
			return err
		},
	}
	hostFlags(cmd, &file)
	cmd.Flags().IntVar(&calls, "calls", 0, "calls of the check for leaks (default 10000)")
	return cmd
}

// trustOwn lets a program run that its author asks to be run, by name and in person.
func trustOwn(cfg *config.Config, at host.Place) {
	p := &cfg.Backends.Process
	if p.Enabled {
		return
	}
	p.Enabled, p.Allow = true, []config.Allowed{{Path: filepath.Join(at.Dir, at.Location.Dir)}}
	if p.User == "" && os.Geteuid() == 0 {
		p.User = "root"
	}
}

// openPlugin finds a plugin's model and the backends for it.
func openPlugin(cmd *cobra.Command, s streams, file, path string) (host.Place, model.Backends, func(), error) {
	cfg, err := readConfig(cmd, file)
	if err != nil {
		return host.Place{}, nil, nil, err
	}
	at, err := pluginPlace(cfg, path)
	if err != nil {
		return host.Place{}, nil, nil, err
	}
	trustOwn(cfg, at)
	log, err := quietLog(s)
	if err != nil {
		return host.Place{}, nil, nil, err
	}
	with, done, err := openBackends(cfg, log)
	if err != nil {
		return host.Place{}, nil, nil, err
	}
	return at, with, done, nil
}

// verify opens and probes a model once.
func verify(ctx context.Context, s streams, at host.Place, with model.Backends) error {
	start := time.Now()
	m, err := at.Open(ctx, with, batching.NewCalls(1))
	if err != nil {
		return err
	}
	rows := "made-up rows"
	if m.Manifest.Golden != nil {
		rows = "golden rows"
	}
	fmt.Fprintf(s.out, "ok    %s %s loads and answers %s (%d ms)\n", m.ID(), m.Version(), rows, time.Since(start).Milliseconds())
	for _, w := range m.Warnings {
		fmt.Fprintf(s.out, "      warning: %s\n", printable.Line(w))
	}
	return m.Close()
}

func pluginPack(s streams) *cobra.Command {
	var file, id, version string
	cmd := &cobra.Command{
		Use:   "pack [DIR]",
		Short: "Make a project's model a directory that a host serves",
		Long: `Copies the project's model folder to <models dir>/<id>/<version>, with the digests of
its module and files in model.yaml, once it has loaded and answered its golden rows.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, with, done, err := openPlugin(cmd, s, file, folder(args))
			if err != nil {
				return err
			}
			defer done()
			if err := verify(cmd.Context(), s, at, with); err != nil {
				return err
			}
			cfg, err := readConfig(cmd, file)
			if err != nil {
				return err
			}
			return pack(cmd.Context(), s, cfg, at, with, id, version)
		},
	}
	hostFlags(cmd, &file)
	cmd.Flags().StringVar(&id, "id", "", "the model's id (default: the manifest's)")
	cmd.Flags().StringVar(&version, "version", "", "the model's version (default: the manifest's)")
	return cmd
}

func pack(ctx context.Context, s streams, cfg *config.Config, at host.Place, with model.Backends, id, version string) error {
	_, a, err := at.Artifact(ctx, with)
	if err != nil {
		return err
	}
	m := a.Manifest
	if id != "" {
		m.ID = id
	}
	if version != "" {
		m.Version = version
	}
	if !manifest.ValidID(m.ID) || !manifest.ValidVersion(m.Version) {
		return fmt.Errorf("%s@%s is no valid model id and version", m.ID, m.Version)
	}
	if m.Backend == manifest.BackendWASM {
		m.Artifact = plugindev.Module // whatever a bare module was called
	}
	m.Files = map[string]string{}
	files := map[string][]byte{}
	if m.Artifact != "" {
		m.Digest, files[m.Artifact] = a.Digest, a.Bytes
	}
	for name, data := range a.Files {
		files[name], m.Files[name] = data, digestOf(data)
	}
	if files[manifest.FileName], err = manifest.Encode(m); err != nil {
		return err
	}
	dir := filepath.Join(cfg.Models.Dir, m.ID, m.Version)
	if err := writeModel(dir, files); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "wrote %s\n", dir)
	return err
}

func pluginBench(s streams) *cobra.Command {
	var file string
	var lasting time.Duration
	cmd := &cobra.Command{
		Use: "bench [DIR|FILE]", Short: "Time a plugin: rows a second by batch size, loading, memory", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, with, done, err := openPlugin(cmd, s, file, folder(args))
			if err != nil {
				return err
			}
			defer done()
			open, o, err := conformance.Model(cmd.Context(), at, with)
			if err != nil {
				return err
			}
			return benchPlugin(cmd.Context(), s, open, o, lasting)
		},
	}
	hostFlags(cmd, &file)
	cmd.Flags().DurationVar(&lasting, "duration", time.Second, "time for each batch size")
	return cmd
}

func benchPlugin(ctx context.Context, s streams, open sdktest.Open, o sdktest.Options, lasting time.Duration) error {
	var scorer sdk.Scorer
	for _, what := range []string{"first opening", "next opening"} {
		start := time.Now()
		var err error
		if scorer, err = open(ctx); err != nil {
			return err
		}
		fmt.Fprintf(s.out, "%s: %.1f ms\n", what, time.Since(start).Seconds()*1e3)
		if what == "first opening" {
			if err := scorer.Close(); err != nil {
				return err
			}
		}
	}
	defer scorer.Close()
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "rows a call\tµs a call\tµs a row\trows/s\t")
	for _, n := range []int{1, 10, 100, 1000, 10000} {
		if n > o.LargeRows {
			break
		}
		in := sdk.NewBatch(scorer.Info().Features)
		in.Resize(n)
		for i := range n {
			in.CopyRow(i, o.Rows, i%o.Rows.Rows())
		}
		out := make([]float64, n)
		calls, start := 0, time.Now()
		for calls < 3 || time.Since(start) < lasting {
			if err := scorer.Score(ctx, in, out); err != nil {
				return fmt.Errorf("scoring %d rows: %w", n, err)
			}
			calls++
		}
		each := time.Since(start).Seconds() / float64(calls)
		fmt.Fprintf(w, "%d\t%.1f\t%.3f\t%.0f\t\n", n, each*1e6, each*1e6/float64(n), float64(n)/each)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	if user, ok := scorer.(sdk.MemoryUser); ok {
		fmt.Fprintf(s.out, "memory of all instances: %.1f MiB\n", float64(user.MemoryBytes())/(1<<20))
	}
	return nil
}
