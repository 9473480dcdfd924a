package onnx

import (
	"context"
	"errors"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/plan"
	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// What is done with graphs that are forests, or search for neighbours.
const (
	ForestsAuto = "auto" // served in Go, once they are proved equal to the graph
	ForestsOff  = "off"  // served by ONNX Runtime, as all graphs
	ForestsOnly = "only" // served in Go, and nothing else is served
)

// candidate is a graph that was recognised as a forest, or as a search for neighbours.
type candidate struct {
	plan  *plan.Plan
	trial *plan.Trial
	proof string // names what a comparison with the graph depends on
	info  sdk.Info
}

// recognise returns the plan of a graph, or why it has none.
func (b *Backend) recognise(a backends.Artifact, g *graph.Model, bind *binding) (*candidate, error) {
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
	f := &candidate{proof: comparison(m), info: sdk.Info{Name: m.ID, Version: m.Version, Algorithm: m.Algorithm, Features: bind.Features}}
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

func (f *candidate) scorer(how string) *planScorer {
	e := backends.Engine{Name: backends.EngineForest, Detail: fmt.Sprintf("%d trees, evaluated by this host: %s", f.plan.Trees(), how)}
	if training, k := f.plan.Neighbours(); training > 0 {
		e = backends.Engine{Name: backends.EngineNeighbours, Detail: fmt.Sprintf("the nearest %d of %d training rows, found by this host: %s", k, training, how)}
	}
	return &planScorer{plan: f.plan, info: f.info, engine: e}
}

// alone returns the scorer of a plan with which no graph is compared, because there is no
// library or it is not to be used. Without a plan, it returns why nothing is served.
func (f *candidate) alone(missing, why error) (sdk.Scorer, error) {
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

func (f *candidate) unproved(why string) *planScorer { return f.scorer("unproved: " + why) }

func (f *candidate) proved(how string) *planScorer { return f.scorer("proved: " + how) }

// compete serves a plan if it is found equal to its graph, and else the graph. A graph
// that is only compared with is proved for calls of so few rows as a comparison makes.
func (b *Backend) compete(ctx context.Context, a backends.Artifact, g *graph.Model, f *candidate, job probeJob, version string) (sdk.Scorer, error) {
	few := job
	few.MaxRows = min(job.MaxRows, comparedCall)
	found, err := b.prove(ctx, few, version)
	if err != nil {
		return nil, err
	}
	if how := found.Forests[f.proof]; how != "" {
		return f.proved(how), nil
	}
	s, err := b.load(ctx, few, a.Manifest, g, found)
	if err != nil {
		return nil, err
	}
	how, differs := b.confront(ctx, a, s, f, found)
	if err := s.Close(); err != nil {
		b.cfg.Log.Error("closing the session of a graph that was compared", "error", err)
	}
	switch {
	case differs != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("comparing the plan of a graph with it: %w", ctx.Err())
	case errors.Is(differs, context.DeadlineExceeded):
		b.cfg.Log.Warn("a graph was recognised, but the comparison took longer than limits.load_timeout, so ONNX Runtime serves it", "model_id", a.Manifest.ID, "version", a.Manifest.Version)
		return b.open(ctx, a, g, job, version, "the graph is recognised, but comparing what this host computes with it took longer than limits.load_timeout")
	case differs != nil:
		b.cfg.Log.Warn("a graph was recognised, but its scores differ, so ONNX Runtime serves it", "model_id", a.Manifest.ID, "version", a.Manifest.Version, "error", differs)
		return b.open(ctx, a, g, job, version, "the graph is recognised, but what this host computes is not served: "+differs.Error())
	}
	if b.cfg.Probe != ProbeInProcess {
		if err := b.proofs.add(few, version, found, f.proof, how); err != nil {
			return nil, err
		}
	}
	return f.proved(how), nil
}

// confront compares a plan with the session of its graph within limits.load_timeout, and
// returns how they were found equal, or how they differ.
func (b *Backend) confront(ctx context.Context, a backends.Artifact, s *scorer, f *candidate, found finding) (how string, err error) {
	err = guard.Call(func() (err error) {
		ctx, cancel := context.WithTimeout(ctx, a.Manifest.Limits.LoadTimeout)
		defer cancel()
		how, err = f.compare(ctx, a, s, found)
		return err
	})
	return how, err //nolint:wrapcheck // callers say what was being done
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

// RowByRow implements backends.RowByRow.
func (s *planScorer) RowByRow() bool { return true }

// Bounded implements sdk.Bounded.
func (s *planScorer) Bounded() bool { return s.plan.Cost(boundedRows) <= boundedTime }

// Engine implements backends.EngineReporter.
func (s *planScorer) Engine() backends.Engine { return s.engine }
