package authoring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/plugins"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Fitted is what Fit has written.
type Fitted struct {
	Dir            string
	Algorithm      string
	Rows, Features int
	Found          Calibrated
	Kept           string   // what the model keeps of the training rows
	Warnings       []string // of the version, as every interface says them
}

// Report writes what was written, for people.
func (f *Fitted) Report(w io.Writer) error {
	text := fmt.Sprintf("wrote %s: %s, fitted to %d rows of %d features\n%s (--contamination %g)\n%s\n", f.Dir, f.Algorithm, f.Rows, f.Features, f.Found, f.Found.Contamination, f.Kept)
	for _, warning := range f.Warnings {
		text += "warning: " + warning + "\n"
	}
	_, err := io.WriteString(w, text)
	return err //nolint:wrapcheck // it is the writer's
}

// fitReference fits a reference detector: its module, and what it was fitted to.
func (a Author) fitReference(ctx context.Context, r plugins.Reference, o FitOptions) (*fitted, error) {
	module, err := detectorModule(o.Detectors, r.Name)
	if err != nil {
		return nil, err
	}
	m, err := beginManifest(r, o)
	if err != nil {
		return nil, err
	}
	train, err := readTraining(o.File, rows.NewSchema(m))
	if err != nil {
		return nil, err
	}
	result, err := r.Fit(fit.Data{Rows: train.Rows(), Cols: len(m.Features), Values: train.Float64s()}, o.reference())
	if err != nil {
		return nil, fmt.Errorf("fitting %s to %s: %w", r.Algorithm, o.File, err)
	}
	kept, err := keepsFitted(result, len(m.Features), o.DropRows)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{m.Artifact: module}
	m.Digest = digest.Of(module)
	for name, data := range result.Files {
		files[name], m.Files[name] = data, digest.Of(data)
	}
	// What the rest of the manifest says comes from the module itself, opened as the
	// host will open it.
	model, done, err := a.openFitted(ctx, m, files)
	if err != nil {
		return nil, err
	}
	scores := result.Scores
	if r.Stateful {
		err = fitStateful(ctx, model, m, train, scores, o, files)
	} else {
		m = model.Manifest.Clone()
		scores, err = fitManifest(ctx, model, m, o.Training, nil, files)
	}
	if err != nil {
		done()
		return nil, err
	}
	return &fitted{manifest: m, files: files, rows: train.Rows(), scores: scores, keeps: kept, model: model, done: done}, nil
}

// keepsFitted says what a detector's own files keep of the training rows. If rows are to
// be dropped, it sorts the columns of detectors that keep them all, which look at one
// column at a time: no row can be put together again.
func keepsFitted(result fit.Result, columns int, drop bool) (string, error) {
	data, all := result.Files[fit.TrainFile]
	if !all {
		return "", nil
	}
	if !drop {
		return "all of them, of which the detector consists (" + fit.TrainFile + ")", nil
	}
	values, err := fit.ParseColumns(data, columns)
	if err != nil {
		return "", fmt.Errorf("reading the fitted rows: %w", err)
	}
	rows := fit.Data{Rows: len(values[0]), Cols: columns, Values: make([]float64, len(values[0])*columns)}
	for j, column := range values {
		slices.Sort(column)
		for i, v := range column {
			rows.Values[i*columns+j] = v
		}
	}
	result.Files[fit.TrainFile] = fit.Columns(rows)
	return "each feature's values, sorted apart from their rows, of which the detector consists (" + fit.TrainFile + ")", nil
}

// beginManifest makes the manifest as far as the header of the training rows says it.
func beginManifest(r plugins.Reference, o FitOptions) (*manifest.Manifest, error) {
	names, err := featureNames(o)
	if err != nil {
		return nil, err
	}
	if len(o.Categorical) > 0 || o.Graph.Scale {
		return nil, fmt.Errorf("%s takes numbers as they are: --categorical and --scale are for %s", r.Name, graphNames())
	}
	if o.Missing == MissingMean || o.Missing == MissingMedian {
		return nil, fmt.Errorf("%s computes no %s: pass --missing with a number; mean and median are for %s", r.Name, o.Missing, graphNames())
	}
	if o.Missing == "nan" {
		return nil, fmt.Errorf("%s does not score NaN: pass --missing with a number, which replaces missing values in training and in requests", r.Name)
	}
	m := manifest.Defaults()
	m.ID, m.Version, m.Algorithm, m.Backend = o.ID, o.Version, r.Algorithm, manifest.BackendWASM
	m.Artifact, m.Files, m.Stateful, m.LearnOnline = r.Name+".wasm", map[string]string{}, r.Stateful, r.Stateful
	if r.Explains {
		m.Explanation = &manifest.Explanation{Method: manifest.ExplainNative}
	}
	for _, name := range names {
		m.Features = append(m.Features, manifest.Feature{Feature: sdk.Feature{Name: name, DType: sdk.Float64}})
	}
	return m, setMissing(m.Features, o.Missing, nil)
}

// featureNames returns the columns of the training rows that are features.
func featureNames(o FitOptions) (names []string, err error) {
	header, err := columnNames(o.File)
	if err != nil {
		return nil, err
	}
	if names, err = without(header, o.Exclude, o.File); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s has no column that is a feature", o.File)
	}
	return names, nil
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
func (a Author) openFitted(ctx context.Context, m *manifest.Manifest, files map[string][]byte) (_ *model.Model, done func(), err error) {
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
	trial := Author{Store: modelstore.Store{Dir: tmp, Policy: a.Store.Policy}, With: a.With}
	dir, err := trial.put(m, maps.Clone(files))
	if err != nil {
		return nil, nil, err
	}
	at, err := trial.Store.FindOne(dir)
	if err != nil {
		return nil, nil, err
	}
	model, err := at.Open(ctx, a.With, batching.NewCalls(runtime.GOMAXPROCS(0)))
	if err != nil {
		return nil, nil, err
	}
	return model, func() { _ = model.Close(); clean() }, nil
}

// fitStateful takes the scores that the training rows had as they came. The golden
// rows, unless the model keeps none, are what it says of the first rows that it serves.
func fitStateful(ctx context.Context, model *model.Model, m *manifest.Manifest, train *sdk.Batch, scores []float64, o FitOptions, files map[string][]byte) error {
	if o.DropRows {
		calibrate(m, scores, o.Contamination, files)
		return nil
	}
	first := spread(train)
	got := make([]float64, first.Rows())
	bad, err := model.Predict(ctx, first, 0, got)
	if err == nil && len(bad) > 0 {
		err = fmt.Errorf("row %d: %s", bad[0].Row+1, offline.Reason(bad[0]))
	}
	if err != nil {
		return fmt.Errorf("scoring golden rows: %w", err)
	}
	if err := addGolden(m, first, got, files); err != nil {
		return err
	}
	calibrate(m, scores, o.Contamination, files)
	return nil
}
