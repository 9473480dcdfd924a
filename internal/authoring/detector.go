package authoring

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/detectors"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/plugins"
	"github.com/pynomaly/pynomaly-runtime/plugins/fit"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
)

// Detector is a detector that Fit fits: a reference detector, which becomes a WASM
// module, or one that becomes an ONNX graph.
type Detector struct {
	Name      string
	Algorithm string
	reference *plugins.Reference
	graph     func(detectors.Rows, detectors.Options) (*detectors.Fitted, error)
}

// Detectors returns the detectors that Fit fits.
func Detectors() (all []Detector) {
	for _, r := range plugins.All() {
		all = append(all, Detector{Name: r.Name, Algorithm: r.Algorithm, reference: &r})
	}
	for _, d := range detectors.All() {
		all = append(all, Detector{Name: d.Name, Algorithm: d.Algorithm, graph: d.Fit})
	}
	return all
}

// DetectorNames returns the names of Detectors.
func DetectorNames() (names []string) {
	for _, d := range Detectors() {
		names = append(names, d.Name)
	}
	return names
}

// graphNames lists the detectors that become graphs, for people.
func graphNames() string {
	var names []string
	for _, d := range detectors.All() {
		names = append(names, d.Name)
	}
	return strings.Join(names, ", ")
}

// FindDetector returns a detector by its name.
func FindDetector(name string) (Detector, error) {
	for _, d := range Detectors() {
		if d.Name == name {
			return d, nil
		}
	}
	return Detector{}, fmt.Errorf("there is no detector %q: choose one of %s", name, strings.Join(DetectorNames(), ", "))
}

// FitOptions say what Fit fits, and what it writes.
type FitOptions struct {
	ID, Version string
	Training           // Missing may be MissingMean or MissingMedian for detectors that become graphs
	Detectors   string // folder of the detectors' modules; empty: plugins beside the binary
	Trees       int    // hstrees, iforest; 0: the detector's default
	Seed        uint64 // hstrees, iforest
	Reference   fit.Options
	Graph       detectors.Options
	// Columns of texts, each of which becomes a feature, of detectors that become graphs.
	Categorical []string
	flags       *pflag.FlagSet // those that Flags was given; nil: none
}

// What replaces missing values, besides values.
const (
	MissingError  = "error" // nothing: they fail their row
	MissingMean   = "mean"
	MissingMedian = "median"
)

// DefaultFitOptions returns the defaults of scikit-learn, PyOD and river.
func DefaultFitOptions() FitOptions {
	return FitOptions{Seed: 1, Reference: fit.DefaultOptions(), Graph: detectors.Defaults()}
}

func (o FitOptions) reference() fit.Options {
	out := o.Reference
	out.Trees, out.Seed = cmp.Or(o.Trees, out.Trees), o.Seed
	return out
}

func (o FitOptions) graph() detectors.Options {
	out := o.Graph
	out.Trees, out.Seed = cmp.Or(o.Trees, out.Trees), o.Seed
	return out
}

// Fit fits a detector to training rows and writes it as a version: the detector, what it
// was fitted to, and the manifest.
func (a Author) Fit(ctx context.Context, d Detector, o FitOptions) (*Fitted, error) {
	if err := catalog.CheckName(o.ID, o.Version); err != nil {
		return nil, err
	}
	made, err := a.fit(ctx, d, o)
	if err != nil {
		return nil, err
	}
	defer made.done()
	m := made.manifest
	dir, verdict, err := a.putVerified(ctx, m, made.files)
	if err != nil {
		return nil, err
	}
	out := &Fitted{Dir: dir, Algorithm: d.Algorithm, Rows: made.rows, Features: len(m.Features), Found: calibrated(made.scores, *m.Threshold), Warnings: verdict.Warnings}
	out.Found.Contamination, out.Kept = o.Contamination, keeps(m, made.rows, made.keeps)
	if made.always {
		out.Kept = strings.TrimSuffix(out.Kept, ". "+keepsNone)
	}
	return out, nil
}

// fitted is a fitted version before it is written.
type fitted struct {
	manifest *manifest.Manifest
	files    map[string][]byte
	rows     int       // training rows
	scores   []float64 // of the training rows, in their order; stateful detectors leave out the first
	keeps    string    // what it keeps of the training rows
	always   bool      // it cannot do without them
	model    *model.Model
	done     func() // closes model
}

func (a Author) fit(ctx context.Context, d Detector, o FitOptions) (*fitted, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if d.reference != nil {
		return a.fitReference(ctx, *d.reference, o)
	}
	return a.fitGraph(ctx, d, o)
}

// fitGraph fits a detector that becomes an ONNX graph.
func (a Author) fitGraph(ctx context.Context, d Detector, o FitOptions) (*fitted, error) {
	if o.Missing == "" {
		o.Missing = MissingError
	}
	if o.DropRows && d.Name != "iforest" {
		return nil, fmt.Errorf("%s consists of its training rows, so --keep-rows=false is not possible", d.Name)
	}
	m, err := beginGraph(d, o)
	if err != nil {
		return nil, err
	}
	rows, batch, err := graphRows(m, o)
	if err != nil {
		return nil, err
	}
	result, err := d.graph(*rows, o.graph())
	if err != nil {
		return nil, fmt.Errorf("fitting %s to %s: %w", d.Algorithm, o.File, err)
	}
	files := map[string][]byte{m.Artifact: result.Graph}
	m.Digest = digest.Of(result.Graph)
	// What the rest of the manifest says comes from the graph itself, opened as the host
	// will open it.
	model, done, err := a.openFitted(ctx, m, files)
	if err != nil {
		return nil, err
	}
	m = model.Manifest.Clone()
	if !isWhole(batch) || !slices.Equal(batch.Features(), model.Schema().Features()) {
		batch = nil // the model may fill its gaps, or refuse them
	}
	scores, err := fitManifest(ctx, model, m, o.Training, batch, files)
	if err != nil {
		done()
		return nil, err
	}
	if result.Scores != nil { // the graph finds each training row to be its own neighbour
		scores, m.Calibration = result.Scores, nil // these scores choose its method
		calibrate(m, scores, o.Contamination, files)
	}
	return &fitted{manifest: m, files: files, rows: rows.Len(), scores: scores, keeps: result.Keeps, always: d.Name != "iforest", model: model, done: done}, nil
}
