package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/plugins"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

type fitOptions struct {
	initOptions
	detectors string
	exclude   []string
	fit.Options
}

func modelFit(s streams) *cobra.Command {
	o := fitOptions{Options: fit.DefaultOptions()}
	var names []string
	for _, r := range plugins.All() {
		names = append(names, r.Name)
	}
	cmd := &cobra.Command{
		Use:   "fit " + strings.Join(names, "|"),
		Short: "Fit a reference detector to a CSV of training rows",
		Long: `Writes <models dir>/<id>/<version>: the detector as a WASM module, what it was fitted to,
and a model.yaml with threshold, calibration, confidence and golden rows. All columns of
the CSV are features, as float64, but for those that --exclude names.`,
		Example: "  pynomaly-runtime model fit ecod --data train.csv --id pima",
		Args:    cobra.ExactArgs(1), ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := readConfig(cmd, o.file)
			if err != nil {
				return err
			}
			at := slices.IndexFunc(plugins.All(), func(r plugins.Reference) bool { return r.Name == args[0] })
			if at < 0 {
				return fmt.Errorf("there is no detector %q: choose one of %s", args[0], strings.Join(names, ", "))
			}
			return fitModel(cmd.Context(), s, cfg, plugins.All()[at], o)
		},
	}
	hostFlags(cmd, &o.file)
	f := cmd.Flags()
	f.StringVar(&o.train, "data", "", "CSV of training rows (required)")
	f.StringVar(&o.id, "id", "", "the model's id (required)")
	f.StringVar(&o.version, "version", "1.0.0", "the model's version")
	f.Float64Var(&o.contamination, "contamination", 0.1, "share of anomalies in the training rows")
	f.StringSliceVar(&o.exclude, "exclude", nil, "columns that are no features, such as a label")
	f.StringVar(&o.detectors, "detectors", "", "folder of the detectors' modules (default: plugins beside the binary)")
	f.IntVar(&o.Bins, "bins", o.Bins, "hbos: bins of a histogram")
	f.IntVar(&o.Trees, "trees", o.Trees, "hstrees: number of trees")
	f.IntVar(&o.Height, "height", o.Height, "hstrees: height of a tree")
	f.IntVar(&o.Window, "window", o.Window, "hstrees: rows of a window")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "hstrees: seed of the trees")
	for _, name := range []string{"data", "id"} {
		_ = cmd.MarkFlagRequired(name)
	}
	return cmd
}

func fitModel(ctx context.Context, s streams, cfg *config.Config, r plugins.Reference, o fitOptions) error {
	if !manifest.ValidID(o.id) || !manifest.ValidVersion(o.version) {
		return fmt.Errorf("%s@%s is no valid model id and version", o.id, o.version)
	}
	if !(o.contamination > 0 && o.contamination <= 0.5) { // NaN, too
		return errors.New("--contamination must be above 0 and at most 0.5")
	}
	module, err := detectorModule(o.detectors, r.Name)
	if err != nil {
		return err
	}
	m, err := fitted(r, o)
	if err != nil {
		return err
	}
	train, err := readTraining(o.train, rows.NewSchema(m))
	if err != nil {
		return err
	}
	result, err := r.Fit(fit.Data{Rows: train.Rows(), Cols: len(m.Features), Values: train.Float64s()}, o.Options)
	if err != nil {
		return fmt.Errorf("fitting %s to %s: %w", r.Algorithm, o.train, err)
	}
	files := map[string][]byte{m.Artifact: module}
	m.Digest = digestOf(module)
	for name, data := range result.Files {
		files[name], m.Files[name] = data, digestOf(data)
	}
	// What the rest of the manifest says comes from the module itself, opened as the
	// host will open it.
	model, done, err := openFitted(ctx, s, cfg, m, files)
	if err != nil {
		return err
	}
	defer done()
	if r.Stateful {
		err = fitStateful(ctx, model, m, train, result.Scores, o, files)
	} else {
		o.output = ""
		err = fitManifest(ctx, model, o.initOptions, files)
		m = model.Manifest
	}
	if err != nil {
		return err
	}
	if files[manifest.FileName], err = manifest.Encode(m); err != nil {
		return err
	}
	dir := filepath.Join(cfg.Models.Dir, o.id, o.version)
	if err := writeModel(dir, files); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "wrote %s: %s, fitted to %d rows of %d features\n", dir, r.Algorithm, train.Rows(), len(m.Features))
	return err
}

// fitted begins the manifest.
func fitted(r plugins.Reference, o fitOptions) (*manifest.Manifest, error) {
	header, err := csvHeader(o.train)
	if err != nil {
		return nil, err
	}
	m := manifest.Defaults()
	m.ID, m.Version, m.Algorithm, m.Backend = o.id, o.version, r.Algorithm, manifest.BackendWASM
	m.Artifact, m.Files, m.Stateful, m.LearnOnline = r.Name+".wasm", map[string]string{}, r.Stateful, r.Stateful
	if r.Explains {
		m.Explanation = &manifest.Explanation{Method: manifest.ExplainNative}
	}
	for _, name := range o.exclude {
		if !slices.Contains(header, name) {
			return nil, fmt.Errorf("--exclude names %q, which %s has no column of: it has %s", name, o.train, strings.Join(header, ", "))
		}
	}
	for _, name := range header {
		if !slices.Contains(o.exclude, name) {
			m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: name, DType: sdk.Float64}})
		}
	}
	if len(m.Features) == 0 {
		return nil, fmt.Errorf("%s has no column that is a feature", o.train)
	}
	return m, nil
}

func csvHeader(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("opening the training rows: %w", err)
	}
	defer f.Close()
	header, err := csv.NewReader(table.WithoutBOM(f)).Read()
	if err != nil {
		return nil, fmt.Errorf("reading the header of %s: %w", file, err)
	}
	for j, name := range header {
		if strings.TrimSpace(name) != name {
			return nil, fmt.Errorf("%s: the name of column %d is %q: take the spaces around it away", file, j+1, name)
		}
		if name == "" || !utf8.ValidString(name) {
			return nil, fmt.Errorf("%s: the name of column %d is %q: give it one, in UTF-8 (pandas writes its index as a column without a name: index=False leaves it out)", file, j+1, name)
		}
	}
	return header, nil
}

// detectorModule reads a detector's module from a folder, or from where builds put
// them.
func detectorModule(dir, name string) ([]byte, error) {
	dirs := []string{dir}
	if dir == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("finding this binary: %w", err)
		}
		dirs = []string{filepath.Join(filepath.Dir(exe), "plugins"), filepath.Join("bin", "plugins")}
	}
	for _, d := range dirs {
		data, err := os.ReadFile(filepath.Join(d, name+".wasm"))
		if err == nil {
			return data, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("reading the detector's module: %w", err)
		}
	}
	return nil, fmt.Errorf("%s.wasm is not in %s: run `make build`, or name its folder with --detectors", name, strings.Join(dirs, " or "))
}

// openFitted opens a model before it is complete, in a folder of its own.
func openFitted(ctx context.Context, s streams, cfg *config.Config, m *manifest.Manifest, files map[string][]byte) (_ *model.Model, done func(), err error) {
	tmp, err := os.MkdirTemp("", "pynomaly-fit-*")
	if err != nil {
		return nil, nil, fmt.Errorf("making a folder to try the model in: %w", err)
	}
	clean := func() { _ = os.RemoveAll(tmp) }
	defer func() {
		if err != nil {
			clean()
		}
	}()
	all := map[string][]byte{}
	for name, data := range files {
		all[name] = data
	}
	if all[manifest.FileName], err = manifest.Encode(m); err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(tmp, m.ID, m.Version)
	if err := writeModel(dir, all); err != nil {
		return nil, nil, err
	}
	places, err := find(cfg, dir)
	if err != nil {
		return nil, nil, err
	}
	log, err := quietLog(s)
	if err != nil {
		return nil, nil, err
	}
	with, closeBackends, err := openBackends(cfg, log)
	if err != nil {
		return nil, nil, err
	}
	model, err := places[0].Open(ctx, with, batching.NewCalls(1))
	if err != nil {
		closeBackends()
		return nil, nil, err
	}
	return model, func() { _ = model.Close(); closeBackends(); clean() }, nil
}

// fitStateful takes the scores that the training rows had as they came. The golden
// rows are what the model says of the first rows that it serves.
func fitStateful(ctx context.Context, model *model.Model, m *manifest.Manifest, train *sdk.Batch, scores []float64, o fitOptions, files map[string][]byte) error {
	n := min(goldenRows, train.Rows())
	first := sdk.NewBatch(train.Features())
	first.Resize(n)
	for i := range n {
		first.CopyRow(i, train, i*(train.Rows()/n))
	}
	got := make([]float64, n)
	bad, err := model.Predict(ctx, first, 0, got)
	if err == nil && len(bad) > 0 {
		err = fmt.Errorf("row %d: %s", bad[0].Row, offline.Reason(bad[0]))
	}
	if err != nil {
		return fmt.Errorf("scoring golden rows: %w", err)
	}
	if files[goldenFile], err = golden(first, got); err != nil {
		return err
	}
	m.Golden = &manifest.Golden{Rows: goldenFile, Tolerance: tolerance(m)}
	calibrate(m, scores, o.contamination, files)
	return nil
}
