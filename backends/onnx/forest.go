package onnx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/plan"
	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// What is done with graphs that are forests, or search for neighbours.
const (
	ForestsAuto = "auto" // served in Go, once they are proved equal to the graph
	ForestsOff  = "off"  // served by ONNX Runtime, as all graphs
	ForestsOnly = "only" // served in Go, and nothing else is served
)

// grown is a graph that was recognised as a forest, or as a search for neighbours.
type grown struct {
	plan  *plan.Plan
	trial *plan.Trial
	proof string // names what a comparison with the graph depends on
	info  sdk.Info
}

// recognise returns the plan of a graph, or why it has none.
func (b *Backend) recognise(a backends.Artifact, g *graph.Model, bind *binding) (*grown, error) {
	m := a.Manifest
	switch {
	case b.cfg.Forests == ForestsOff:
		return nil, errors.New("backends.onnx.forests is off")
	case a.Original:
		return nil, errors.New("the plan that the graph is recognised as did not pass the probe of the model")
	case m.Stateful || m.BatchDependent:
		return nil, errors.New("the manifest says that rows influence each other")
	case bind.Reconstruction != "":
		return nil, errors.New("the score is the error of a rebuilt row")
	case bind.Fixed > 0:
		return nil, errors.New("the graph takes a fixed number of rows")
	}
	f := &grown{proof: comparison(m), info: sdk.Info{Name: m.ID, Version: m.Version, Algorithm: m.Algorithm, Features: bind.Features}}
	err := guard.Call(func() (err error) {
		in, out := bind.plan()
		f.plan, f.trial, err = plan.Recognise(g, in, out)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// plan returns the binding as a plan needs it.
func (b *binding) plan() (plan.Inputs, plan.Output) {
	out := plan.Output{Name: b.Output, Column: -1}
	if b.Columns {
		out.Column = b.Column
	}
	return plan.Inputs{Features: b.Features, Names: b.Inputs, PerFeature: b.PerFeature, Groups: b.Groups, Rank: b.Rank}, out
}

// comparison names what a comparison depends on besides the graph.
func comparison(m *manifest.Manifest) string {
	h := sha256.New()
	threshold := math.NaN()
	if m.Threshold != nil {
		threshold = *m.Threshold
	}
	fmt.Fprintln(h, plan.Version, m.GoldenTolerance(), threshold, m.Output.HigherIsNormal, mayMiss(m))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// mayMiss tells for each feature whether NaN may come.
func mayMiss(m *manifest.Manifest) []bool {
	out := make([]bool, len(m.Features))
	for j, f := range m.Features {
		out[j] = f.Missing.Policy == manifest.MissingIsNaN
	}
	return out
}

func (f *grown) scorer(how string) *planScorer {
	e := backends.Engine{Name: backends.EngineForest, Detail: fmt.Sprintf("%d trees, evaluated by this host: %s", f.plan.Trees(), how)}
	if training, k := f.plan.Neighbours(); training > 0 {
		e = backends.Engine{Name: backends.EngineNeighbours, Detail: fmt.Sprintf("the nearest %d of %d training rows, found by this host: %s", k, training, how)}
	}
	return &planScorer{plan: f.plan, info: f.info, engine: e}
}

// alone returns the scorer of a plan with which no graph is compared, because there is no
// library or it is not to be used. Without a plan, it returns why nothing is served.
func (f *grown) alone(missing, why error) (sdk.Scorer, error) {
	switch {
	case f == nil && missing != nil:
		return nil, fmt.Errorf("%w; without it only forests and searches for neighbours are served: %w", missing, why)
	case f == nil:
		return nil, fmt.Errorf("%w: backends.onnx.forests is only: %w", backends.ErrRefused, &backends.OwnError{Err: why})
	case missing != nil:
		return f.unproved("there is no ONNX Runtime to compare it with"), nil //nolint:nilerr // it does not need the library
	}
	return f.unproved("backends.onnx.forests is only, so it is not compared with ONNX Runtime"), nil
}

func (f *grown) unproved(why string) *planScorer { return f.scorer("unproved: " + why) }

func (f *grown) proved(how string) *planScorer { return f.scorer("proved: " + how) }

// compete compares a plan with the session of its graph, and returns the one that serves.
// It closes the other.
func (b *Backend) compete(ctx context.Context, a backends.Artifact, s *scorer, f *grown, job probeJob, version string, found finding) (sdk.Scorer, error) {
	var how string
	err := guard.Call(func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, a.Manifest.Limits.LoadTimeout)
		defer cancel()
		how, err = f.compare(ctx, a, s, found)
		return err
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, errors.Join(fmt.Errorf("comparing the plan of a graph with it: %w", ctx.Err()), s.Close())
	case errors.Is(err, context.DeadlineExceeded):
		s.engine = backends.Engine{Name: backends.EngineRuntime, Detail: "the graph is recognised, but comparing what this host computes with it took longer than limits.load_timeout"}
		b.cfg.Log.Warn("a graph was recognised, but the comparison took longer than limits.load_timeout, so ONNX Runtime serves it", "model_id", a.Manifest.ID, "version", a.Manifest.Version)
		return s, nil
	case err != nil:
		s.engine = backends.Engine{Name: backends.EngineRuntime, Detail: "the graph is recognised, but what this host computes is not served: " + err.Error()}
		b.cfg.Log.Warn("a graph was recognised, but its scores differ, so ONNX Runtime serves it", "model_id", a.Manifest.ID, "version", a.Manifest.Version, "error", err)
		return s, nil
	}
	if b.cfg.Probe != ProbeInProcess {
		const most = 16 // manifests of one graph
		all := map[string]string{f.proof: how}
		if len(found.Forests) < most {
			maps.Copy(all, found.Forests)
		}
		found.Forests = all
		if err := b.proofs.add(job, version, found); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if err := s.Close(); err != nil {
		b.cfg.Log.Error("closing the session of a graph that this host computes", "error", err)
	}
	return f.proved(how), nil
}

// The rows of a comparison.
const (
	comparedRows = 1024
	comparedOnes = 16 // that are scored alone, too
	comparedCall = 256
)

// closeEnough is how far scores may differ, in parts of the largest one. Of scores far
// above the median only these themselves may differ so much: small ones must not hide
// behind a few that are immense, as those of rows far from all training rows are.
const (
	closeEnough = 1e-6
	farAbove    = 100 // times the median
)

// compare scores rows with the plan and with the graph: those of the probe,
// rows at the thresholds of the trees and beside them, and drawn ones. The error
// says how they differ.
func (f *grown) compare(ctx context.Context, a backends.Artifact, s *scorer, found finding) (string, error) {
	m := a.Manifest
	n, call := found.compared(s.each)
	rows := f.rows(a, n)
	want, got := make([]float64, n), make([]float64, n)
	for from := 0; from < n; from += call {
		to := min(from+call, n)
		if err := s.scoreApart(ctx, rows.Slice(from, to), want[from:to]); err != nil {
			return "", fmt.Errorf("scoring rows with ONNX Runtime: %w", err)
		}
	}
	if err := f.plan.Score(ctx, rows, got); err != nil {
		return "", err
	}
	worst, err := differ(m, want, got)
	if err != nil {
		return "", err
	}
	var one, other [1]float64
	for i := range min(comparedOnes, n) {
		row := rows.Slice(i*n/comparedOnes, i*n/comparedOnes+1)
		if err := errors.Join(s.Score(ctx, row, one[:]), f.plan.Score(ctx, row, other[:])); err != nil {
			return "", fmt.Errorf("scoring a row alone: %w", err)
		}
		if !sameScore(other[0], got[i*n/comparedOnes], 0) {
			return "", fmt.Errorf("a row alone scores %v, and %v among others", other[0], got[i*n/comparedOnes])
		}
		if _, err := differ(m, append(one[:1:1], want...), append(other[:1:1], got...)); err != nil {
			return "", fmt.Errorf("a row alone: %w", err)
		}
	}
	if worst == 0 {
		return fmt.Sprintf("%d rows score the same as in ONNX Runtime, bit for bit", n), nil
	}
	return fmt.Sprintf("%d rows score as in ONNX Runtime, within %.2g", n, worst), nil
}

// compared returns how many rows are compared, and how many in a call. Each row stands
// each times in a call, which has no more rows than were proved to fit the memory.
func (f *finding) compared(each int) (rows, call int) {
	rows = comparedRows
	if per := f.BatchTime.Seconds() / float64(max(f.Rows, 1)); per > 0 {
		rows = int(min(float64(rows), max(64, 0.2/per))) // about 0.2 s of a slow graph
	}
	return rows, max(1, min(comparedCall, f.Rows/max(each, 1)))
}

// scoreApart scores rows that stand as far apart as hosts put them, where ONNX Runtime
// adds the columns of each in the same order.
func (s *scorer) scoreApart(ctx context.Context, in *sdk.Batch, out []float64) error {
	if s.each <= 1 {
		return s.Score(ctx, in, out)
	}
	wide := sdk.NewBatch(in.Features())
	wide.Resize(in.Rows() * s.each)
	for i := range wide.Rows() {
		wide.CopyRow(i, in, i/s.each)
	}
	all := make([]float64, wide.Rows())
	if err := s.Score(ctx, wide, all); err != nil {
		return err
	}
	for i := range out {
		out[i] = all[i*s.each]
	}
	return nil
}

// rows returns the rows of a comparison.
func (f *grown) rows(a backends.Artifact, n int) *sdk.Batch {
	base := a.ProbeRows
	random := rand.New(rand.NewPCG(1, 2)) // the comparison of a graph is always the same
	rows := f.trial.Rows(f.plan, base, n, mayMiss(a.Manifest), random)
	for i := range min(base.Rows(), n/2) {
		rows.CopyRow(i, base, i)
	}
	return rows
}

// differ returns the largest difference of scores, or an error if it is too large or a
// row's flag differs.
func differ(m *manifest.Manifest, want, got []float64) (worst float64, err error) {
	scale := scaleOf(want)
	tolerance := min(closeEnough, m.GoldenTolerance())
	for i, w := range want {
		if !sameScore(w, got[i], tolerance*max(scale, math.Abs(w))) {
			return 0, fmt.Errorf("a row scores %v in ONNX Runtime and %v here", w, got[i])
		}
		if m.Threshold != nil && (m.Output.Sign()*w > *m.Threshold) != (m.Output.Sign()*got[i] > *m.Threshold) {
			return 0, fmt.Errorf("a row scores %v in ONNX Runtime and %v here, and the threshold is between them", w, got[i])
		}
		if d := math.Abs(w - got[i]); d > worst {
			worst = d
		}
	}
	return worst, nil
}

// scaleOf returns the largest size of scores, or farAbove times the median one if that
// is less. Infinities, zeros and NaN are no sizes.
func scaleOf(scores []float64) float64 {
	sizes := make([]float64, 0, len(scores))
	for _, v := range scores {
		if a := math.Abs(v); a > 0 && !math.IsInf(a, 0) {
			sizes = append(sizes, a)
		}
	}
	if len(sizes) == 0 {
		return 0
	}
	slices.Sort(sizes)
	return min(sizes[len(sizes)-1], farAbove*sizes[len(sizes)/2])
}

// sameScore reports whether scores are equal, or both NaN, or finite and no further apart
// than allowed.
func sameScore(a, b, allowed float64) bool {
	return a == b || (math.IsNaN(a) && math.IsNaN(b)) || (!math.IsInf(a, 0) && math.Abs(a-b) <= allowed)
}

// planScorer runs a plan.
type planScorer struct {
	plan   *plan.Plan
	info   sdk.Info
	engine backends.Engine
}

// Info implements sdk.Scorer.
func (s *planScorer) Info() sdk.Info { return s.info }

// Score implements sdk.Scorer.
func (s *planScorer) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	return s.plan.Score(ctx, in, out) //nolint:wrapcheck // it says what was being done
}

// Close implements sdk.Scorer.
func (s *planScorer) Close() error { return nil }

// MemoryBytes implements sdk.MemoryUser; it is an estimate.
func (s *planScorer) MemoryBytes() int64 { return s.plan.MemoryBytes() }

// Fill implements backends.Filler: each row is computed alone.
func (s *planScorer) Fill() (rows, each int) { return 1, 1 }

// Bounded implements sdk.Bounded.
func (s *planScorer) Bounded() bool { return s.plan.Cost(boundedRows) <= boundedTime }

// Engine implements backends.EngineReporter.
func (s *planScorer) Engine() backends.Engine { return s.engine }
