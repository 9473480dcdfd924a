package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

type initOptions struct {
	file, id, version, output, train string
	contamination                    float64
}

// goldenRows is how many training rows become golden rows.
const goldenRows = 16

// The files that are written for a manifest that was fitted.
const (
	goldenFile  = "golden.ndjson"
	trainScores = "train_scores.f64"
)

func modelInit(s streams) *cobra.Command {
	o := initOptions{}
	cmd := &cobra.Command{
		Use:   "init FILE",
		Short: "Write a model directory for an .onnx file",
		Long: `Writes <models dir>/<id>/<version> with a copy of the file and a model.yaml derived
from the graph. With --train, a CSV of training rows, the rows are scored and give
the threshold, the calibration, the confidence, an explanation and golden rows.`,
		Example: "  pynomaly-runtime model init forest.onnx --id cardio --version 1.0.0 --train train.csv --contamination 0.1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := readConfig(cmd, o.file)
			if err != nil {
				return err
			}
			return initModel(cmd.Context(), s, cfg, args[0], o)
		},
	}
	hostFlags(cmd, &o.file)
	f := cmd.Flags()
	f.StringVar(&o.id, "id", "", "the model's id (default: the file's name)")
	f.StringVar(&o.version, "version", "", "the model's version (default: as the file's name says, or 1.0.0)")
	f.StringVar(&o.output, "output", "", "name of the output that is the score, where the graph has more than one")
	f.StringVar(&o.train, "train", "", "CSV of training rows")
	f.Float64Var(&o.contamination, "contamination", 0.1, "share of anomalies in the training rows")
	return cmd
}

func initModel(ctx context.Context, s streams, cfg *config.Config, file string, o initOptions) error {
	found, err := find(cfg, file)
	if err != nil {
		return err
	}
	at := found[0]
	if at.File == "" {
		return fmt.Errorf("%s is no bare model file", file)
	}
	if o.id == "" {
		o.id = at.ID
	}
	if o.version == "" {
		o.version = map[bool]string{true: "1.0.0", false: at.Version}[at.Version == "0.0.0"]
	}
	if !manifest.ValidID(o.id) || !manifest.ValidVersion(o.version) {
		return fmt.Errorf("%s@%s is no valid model id and version", o.id, o.version)
	}
	if !(o.contamination > 0 && o.contamination <= 0.5) { // NaN, too
		return errors.New("--contamination must be above 0 and at most 0.5")
	}
	log, err := quietLog(s)
	if err != nil {
		return err
	}
	with, done, err := openBackends(cfg, log)
	if err != nil {
		return err
	}
	defer done()
	model, err := at.OpenWith(ctx, with, batching.NewCalls(1), func(m *manifest.Manifest) {
		m.Output.Name = o.output
	})
	if err != nil {
		return err
	}
	defer model.Close()
	m := model.Manifest
	m.ID, m.Version, m.Digest, m.Input = o.id, o.version, model.Digest, ""
	files := map[string][]byte{}
	if o.train != "" {
		if err := fitManifest(ctx, model, o, files); err != nil {
			return err
		}
	}
	artifact, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the model: %w", err)
	}
	m.Artifact = "model" + filepath.Ext(file)
	files[m.Artifact] = artifact
	if files[manifest.FileName], err = manifest.Encode(m); err != nil {
		return err
	}
	dir := filepath.Join(cfg.Models.Dir, o.id, o.version)
	if err := writeModel(dir, files); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "wrote %s\n", dir)
	if m.Threshold == nil {
		fmt.Fprintln(s.out, "the manifest has no threshold, so no row is called an anomaly: set one, or run again with --train")
	}
	return nil
}

// writeModel writes a directory as a whole: it appears when it is complete.
func writeModel(dir string, files map[string][]byte) error {
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s exists already: remove it or choose another --version", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // models are no secrets
		return fmt.Errorf("making the model's directory: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".init-*")
	if err != nil {
		return fmt.Errorf("making the model's directory: %w", err)
	}
	err = os.Chmod(tmp, 0o755) //nolint:gosec // models are no secrets
	for name, data := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(tmp, name), data, 0o644)) //nolint:gosec // models are no secrets
	}
	if err == nil {
		err = os.Rename(tmp, dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing the model: %w", err), os.RemoveAll(tmp))
	}
	return nil
}

// readTraining reads rows from a CSV file; columns that are no features are passed
// over.
func readTraining(file string, schema *rows.Schema) (*sdk.Batch, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("opening the training rows: %w", err)
	}
	defer f.Close()
	t, err := table.Open(table.CSV, f, io.Discard, schema, table.Options{Extra: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d := schema.NewDecoder()
	for {
		if _, err := t.Read(d, 1000); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if failed := d.Failed(); len(failed) > 0 {
		return nil, fmt.Errorf("%s: row %d: %s", file, failed[0].Row+1, offline.Reason(failed[0]))
	}
	const least = 10
	if n := d.Batch().Rows(); n < least {
		return nil, fmt.Errorf("%s has %d rows; at least %d are needed", file, n, least)
	}
	return d.Batch(), nil
}

// fitManifest scores the training rows and fills in what follows from them.
func fitManifest(ctx context.Context, model *model.Model, o initOptions, files map[string][]byte) error {
	rows, err := readTraining(o.train, model.Schema())
	if err != nil {
		return err
	}
	scores := make([]float64, rows.Rows())
	bad, err := model.Predict(ctx, rows, 256, scores)
	if err != nil {
		return err
	}
	if len(bad) > 0 {
		return fmt.Errorf("%s: row %d: %s", o.train, bad[0].Row+1, offline.Reason(bad[0]))
	}
	m := model.Manifest
	if m.Explanation == nil {
		m.Explanation = &manifest.Explanation{Method: manifest.ExplainPermutation, Permutations: 5, Seed: 1, Reference: reference(rows)}
		if len(m.Features) <= 8 {
			m.Explanation.Method = manifest.ExplainExact
		}
	}
	if files[goldenFile], err = golden(rows, scores); err != nil {
		return err
	}
	m.Golden = &manifest.Golden{Rows: goldenFile, Tolerance: tolerance(m)}
	calibrate(m, scores, o.contamination, files)
	return nil
}

// tolerance is how far golden rows may be off: what is computed in float64 by the
// same code everywhere hardly is.
func tolerance(m *manifest.Manifest) float64 {
	if m.Backend == manifest.BackendWASM {
		return 1e-9
	}
	return manifest.DefaultTolerance
}

// calibrate fills in what follows from the scores of the training rows.
func calibrate(m *manifest.Manifest, scores []float64, contamination float64, files map[string][]byte) {
	slices.Sort(scores)
	threshold := percentile(scores, 1-contamination)
	m.Threshold = &threshold
	files[trainScores] = encodeScores(scores)
	if m.Files == nil {
		m.Files = map[string]string{}
	}
	m.Files[trainScores] = digestOf(files[trainScores])
	m.Calibration = &manifest.Calibration{Method: manifest.CalibrateECDF, Scores: trainScores}
	m.Confidence = &manifest.Confidence{Contamination: contamination, TrainingSize: len(scores)}
}

// digestOf is a file's digest as manifests have it.
func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// percentile interpolates linearly between the sorted values, as numpy does.
func percentile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

func encodeScores(v []float64) []byte {
	out := make([]byte, 0, 8*len(v))
	for _, x := range v {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(x))
	}
	return out
}

// golden writes rows spread over the training rows with their scores.
func golden(rows *sdk.Batch, scores []float64) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	for i := 0; i < rows.Rows(); i += max(1, rows.Rows()/goldenRows) {
		data := map[string]any{}
		for j, f := range rows.Features() {
			data[f.Name] = plain(rows.Value(i, j))
		}
		if err := enc.Encode(map[string]any{"data": data, "score": scores[i]}); err != nil {
			return nil, fmt.Errorf("writing golden rows: %w", err)
		}
	}
	return out.Bytes(), nil
}

// plain makes a value that JSON can hold: NaN is missing.
func plain(v any) any {
	switch x := v.(type) {
	case float32:
		if x != x {
			return nil
		}
	case float64:
		if x != x {
			return nil
		}
	}
	return v
}

// reference takes the middle value of every feature, the commonest text.
func reference(rows *sdk.Batch) map[string]any {
	out := map[string]any{}
	n := rows.Rows()
	for j, f := range rows.Features() {
		values := make([]any, n)
		for i := range n {
			values[i] = rows.Value(i, j)
		}
		slices.SortStableFunc(values, compare)
		if f.DType.Numeric() {
			out[f.Name] = values[(n-1)/2]
			continue
		}
		best, run, most := values[0], 0, 0
		for i, v := range values {
			if i > 0 && v != values[i-1] {
				run = 0
			}
			if run++; run > most {
				best, most = v, run
			}
		}
		out[f.Name] = best
	}
	return out
}

// compare orders values of one type; NaN comes first.
func compare(a, b any) int {
	less := func(a, b any) bool {
		switch x := a.(type) {
		case float32:
			return x < b.(float32) || (x != x && b.(float32) == b.(float32))
		case float64:
			return x < b.(float64) || (x != x && b.(float64) == b.(float64))
		case int64:
			return x < b.(int64)
		case string:
			return x < b.(string)
		}
		return a == false && b == true
	}
	switch {
	case less(a, b):
		return -1
	case less(b, a):
		return 1
	}
	return 0
}
