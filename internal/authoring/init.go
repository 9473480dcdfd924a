package authoring

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Initialised is what Init has written.
type Initialised struct {
	Dir      string
	Added    []string // keys of model.yaml, if there was one
	Found    Calibrated
	Notes    []string // what was decided, and what is kept of the training rows
	Warnings []string // those of the version, as every interface says them, and of the training
}

// Report writes what was written, for people.
func (i *Initialised) Report(w io.Writer) error {
	wrote := "wrote " + i.Dir + "\n"
	if i.Added != nil {
		wrote = fmt.Sprintf("added to %s: %s\n", filepath.Join(i.Dir, manifest.FileName), list(i.Added))
	}
	switch {
	case i.Found.Rows > 0 && i.Found.Contamination == 0:
		wrote += fmt.Sprintf("%s (the threshold is that of %s)\n", i.Found, manifest.FileName)
	case i.Found.Rows > 0:
		wrote += fmt.Sprintf("%s (--contamination %g)\n", i.Found, i.Found.Contamination)
	}
	for _, n := range i.Notes {
		wrote += n + "\n"
	}
	for _, text := range i.Warnings {
		wrote += "warning: " + text + "\n"
	}
	_, err := io.WriteString(w, wrote)
	return err //nolint:wrapcheck // it is the writer's
}

// Calibrated says what training rows have yielded.
type Calibrated struct {
	Rows          int // 0: there were none
	Contamination float64
	Threshold     float64
	Flagged       int // rows that score above it
	ties
}

// String says it in a sentence.
func (c Calibrated) String() string {
	return fmt.Sprintf("threshold %g: %d of %d training rows (%.3g %%) are anomalies%s", c.Threshold, c.Flagged, c.Rows, 100*float64(c.Flagged)/float64(c.Rows), c.ties)
}

// Init writes a version with a copy of a bare model file, and the manifest that follows
// from the file and the training rows. If the path is a directory with a manifest, Init
// adds what is missing there, and changes nothing else.
func (a Author) Init(ctx context.Context, path string, o InitOptions) (*Initialised, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	at, err := a.Store.FindOne(path)
	if err != nil {
		return nil, err
	}
	if at.File == "" {
		return a.complete(ctx, filepath.Join(at.Dir, at.Path()), o)
	}
	version := at.Version
	if version == "0.0.0" { // the file's name says none
		version = "1.0.0"
	}
	id := cmp.Or(o.ID, at.ID)
	version = cmp.Or(o.Version, version)
	if err := catalog.CheckName(id, version); err != nil {
		return nil, err
	}
	if dir := filepath.Join(a.Store.Dir, id, version); exists(dir) {
		return nil, fmt.Errorf("%s exists already: remove it, choose another --version, or complete it with `model init %s`", dir, dir)
	}
	artifact, err := os.ReadFile(filepath.Join(at.Dir, at.File))
	if err != nil {
		return nil, fmt.Errorf("reading the model: %w", err)
	}
	d, err := a.drafted(ctx, at, o, stated{})
	if err != nil {
		return nil, err
	}
	m := d.manifest
	m.ID, m.Version, m.Input = id, version, ""
	m.Artifact = "model" + filepath.Ext(at.File)
	d.files[m.Artifact] = artifact
	dir, verdict, err := a.putVerified(ctx, m, d.files)
	if err != nil {
		return nil, err
	}
	d.Dir = dir
	d.warn(m, verdict)
	return &d.Initialised, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// draft is a version that Init has not written yet.
type draft struct {
	Initialised
	manifest *manifest.Manifest
	files    map[string][]byte // beside the manifest and the artifact
}

// warn collects the warnings of a version that was written.
func (d *draft) warn(m *manifest.Manifest, v *Verdict) {
	d.Warnings = append(v.Warnings, d.Warnings...)
	if m.Threshold == nil {
		d.Warnings = append(d.Warnings, "the manifest has no threshold, so no row is called an anomaly: set one, or run again with --train")
	}
}

// drafted derives a manifest from an artifact, and from the training rows if there are
// any. It keeps what is stated.
func (a Author) drafted(ctx context.Context, at modelstore.Place, o InitOptions, s stated) (*draft, error) {
	d := &draft{files: map[string][]byte{}}
	change := func(m *manifest.Manifest) {
		s.apply(m)
		o.apply(m)
	}
	known, _, err := at.InspectWith(ctx, a.With, change)
	if err != nil {
		return nil, err
	}
	if !known.Output.Directed && known.Output.Name == "" {
		return nil, fmt.Errorf("the plugin does not say whether higher scores are anomalous or normal: state --orientation %s or %s", manifest.HigherIsAnomalous, manifest.HigherIsNormal)
	}
	if !known.Output.Directed {
		return nil, fmt.Errorf("the name of the output %q does not say whether higher scores are anomalous or normal: state --orientation %s or %s", known.Output.Name, manifest.HigherIsAnomalous, manifest.HigherIsNormal)
	}
	features, note := known.Features, ""
	if !s.features {
		if features, note, err = o.named(known); err != nil {
			return nil, err
		}
	}
	if err := setMissing(features, o.Missing, s.mayMiss); err != nil {
		return nil, err
	}
	opened, err := at.OpenWith(ctx, a.With, batching.NewCalls(1), func(m *manifest.Manifest) {
		change(m)
		m.Features = features
	})
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	d.manifest = opened.Manifest.Clone()
	d.manifest.Digest = opened.Digest
	if note != "" {
		d.Notes = append(d.Notes, note)
	}
	if o.Orientation == "" && !s.orientation {
		d.Notes = append(d.Notes, oriented(d.manifest.Output))
	}
	if o.File == "" {
		return d, nil
	}
	return d, d.train(ctx, opened, o, s)
}

// oriented says how scores are read if nobody has stated it.
func oriented(out manifest.Output) string {
	switch {
	case out.Name == "":
		return "orientation: as the plugin says"
	case out.Reconstruction != "":
		return fmt.Sprintf("score: the %s of the rebuilt row, which is higher for anomalies", out.Reconstruction)
	case out.Column != nil && !out.HigherIsNormal:
		return fmt.Sprintf("score: column %d of the output %q; higher scores are more anomalous", *out.Column, out.Name)
	case out.HigherIsNormal:
		return fmt.Sprintf("orientation: lower scores are more anomalous, as the graph's output %q says", out.Name)
	}
	return fmt.Sprintf("orientation: higher scores are more anomalous, as the graph's output %q says", out.Name)
}

// train scores the training rows, and adds what follows from them.
func (d *draft) train(ctx context.Context, opened *model.Model, o InitOptions, s stated) error {
	own := d.manifest.Threshold
	scores, err := fitManifest(ctx, opened, d.manifest, o.Training, nil, d.files)
	if err != nil {
		return proposeNaN(ctx, opened, o.Training, err)
	}
	if s.threshold {
		d.Found, d.manifest.Threshold = calibrated(scores, *own), own
	} else {
		d.Found = calibrated(scores, *d.manifest.Threshold)
		d.Found.Contamination = o.Contamination
	}
	d.Found.method = d.manifest.Calibration.Method
	if own != nil && !s.threshold {
		d.Warnings = differs(d.Found, calibrated(scores, *own))
	}
	d.Notes = append(d.Notes, keeps(d.manifest, len(scores), ""))
	return nil
}

// calibrated counts the rows that score above a threshold.
func calibrated(scores []float64, threshold float64) Calibrated {
	scores = slices.Sorted(slices.Values(scores))
	c := Calibrated{Rows: len(scores), Threshold: threshold, ties: tiesOf(scores)}
	for _, v := range scores {
		if v > threshold {
			c.Flagged++
		}
	}
	return c
}

// differs warns of a threshold of the graph's own that flags other rows.
func differs(made, own Calibrated) []string {
	if made.Flagged == own.Flagged {
		return nil
	}
	return []string{fmt.Sprintf("the graph has a threshold of its own, which differs: by it %d of the %d rows are anomalies. model.yaml has the one that follows from --contamination", own.Flagged, own.Rows)}
}

// trainingRows is how many training rows are scored in a call.
const trainingRows = 256

// fitManifest scores the training rows and fills in what follows from them, in a manifest
// that is the model's so far. read are the training rows if they have been read as the
// model reads them. It returns the scores.
func fitManifest(ctx context.Context, model *model.Model, m *manifest.Manifest, t Training, read *sdk.Batch, files map[string][]byte) ([]float64, error) {
	rows := read
	if rows == nil {
		var err error
		if rows, err = readTraining(t.File, model.Schema()); err != nil {
			return nil, err
		}
	}
	// What the host finds out with the golden rows must hold for the scores that it gets here.
	if err := model.Try(ctx, spread(rows)); err != nil {
		return nil, fmt.Errorf("%s: %w", t.File, err)
	}
	scores := make([]float64, rows.Rows())
	bad, err := scoreAll(ctx, model, rows, scores)
	if err != nil {
		return nil, err
	}
	if len(bad) > 0 {
		why := offline.Reason(bad[0])
		if t.Missing == "nan" {
			why += ". If the row has a gap, the model does not score NaN: pass --missing VALUE instead of nan"
		}
		return nil, fmt.Errorf("%s: row %d: %s", t.File, bad[0].Row+1, why)
	}
	if m.Explanation == nil && !t.DropRows {
		m.Explanation = &manifest.Explanation{Method: manifest.ExplainPermutation, Permutations: 5, Seed: 1, Reference: reference(rows)}
		if len(m.Features) <= 8 {
			m.Explanation.Method = manifest.ExplainExact
		}
	}
	if m.Golden == nil && !t.DropRows {
		if err := addGolden(m, rows, scores, files); err != nil {
			return nil, err
		}
	}
	calibrate(m, scores, t.Contamination, files)
	return scores, nil
}

// keepsNone is how keeps ends if rows are kept.
const keepsNone = "--keep-rows=false keeps no rows"

// keeps says what a model keeps of its training rows. fitted is what the detector
// itself keeps; empty: nothing, or unknown.
func keeps(m *manifest.Manifest, rows int, fitted string) string {
	text := fmt.Sprintf("kept of the training rows: the scores of all (%s)", trainScores)
	if fitted != "" {
		text += "; " + fitted
	}
	if m.Golden == nil && (m.Explanation == nil || m.Explanation.Reference == nil) {
		return text + "; no row, so there are no golden rows"
	}
	if m.Golden != nil {
		text += fmt.Sprintf("; %d rows with their scores (%s)", len(spreadOver(rows)), m.Golden.Rows)
	}
	if m.Explanation != nil && m.Explanation.Reference != nil {
		text += "; a middle or most frequent value of each feature (explanation.reference)"
	}
	return text + ". " + keepsNone
}
