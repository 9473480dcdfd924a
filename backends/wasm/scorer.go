package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
	"unsafe"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// scorer runs a plugin in a pool of instances.
type scorer struct {
	plugin  *plugin
	info    sdk.Info
	dtype   sdk.DType
	start   []byte // the init block
	explain bool
	fresh   freshness
	revive  func(context.Context, *instance) error // restores a new instance of a stateful plugin

	mu     sync.Mutex
	idle   []*instance // the one used last comes last
	memory int64       // of the largest instance
	shrink *time.Timer
	closed bool
}

// explainer is a scorer whose module explains its scores.
type explainer struct{ *scorer }

// idleAfter is how long an instance may be idle before it is closed. One always
// stays.
const idleAfter = 30 * time.Second

// newScorer starts the first instance. It fails if that does not start.
func newScorer(ctx context.Context, cfg Config, p *plugin, a backends.Artifact) (sdk.Scorer, error) {
	features := a.Manifest.SDKFeatures()
	if len(features) == 0 {
		return nil, errors.New("the model has no features")
	}
	s := &scorer{plugin: p, dtype: backends.MatrixType(features)}
	var err error
	if s.start, err = initBlock(a.Manifest, features, a.Files); err != nil {
		return nil, err
	}
	i, err := p.instantiate(ctx)
	if err != nil {
		return nil, err
	}
	d, err := i.describe(ctx)
	if err == nil {
		err = d.Agrees(features)
	}
	stateful := err == nil && (d.Stateful || a.Manifest.Stateful)
	if _, learns := i.functions[exportLearn]; stateful && a.Manifest.LearnOnline && !learns {
		err = fmt.Errorf("learning: online needs a module that exports %s", exportLearn)
	}
	if err == nil {
		s.fresh = freshnessOf(i, stateful, d.reset)
		i.fresh = s.fresh
		err = i.init(ctx, s.start)
	}
	if err != nil {
		return nil, errors.Join(err, i.close())
	}
	s.info = sdk.Info{
		Name: a.Manifest.ID, Version: a.Manifest.Version, Algorithm: d.Algorithm, Features: features,
		Concurrency: cfg.Instances, Stateful: stateful,
	}
	if stateful {
		s.info.Concurrency = 1 // there is only one state
	}
	s.shrink = time.AfterFunc(time.Hour, s.closeIdle)
	s.shrink.Stop()
	_, s.explain = i.functions[exportExplain]
	s.put(i)
	switch {
	case stateful && s.explain:
		return &statefulExplainer{newStateful(s, cfg.Log, a.Manifest), explainer{s}}, nil
	case stateful:
		return newStateful(s, cfg.Log, a.Manifest), nil
	case s.explain:
		return &explainer{s}, nil
	}
	return s, nil
}

// Info implements sdk.Scorer.
func (s *scorer) Info() sdk.Info { return s.info }

// MemoryBytes implements sdk.MemoryUser. It counts all instances at their largest
// size, and what each new instance receives.
func (s *scorer) MemoryBytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memory*int64(s.info.Concurrency) + int64(len(s.start))
}

// Usage implements backends.UsageReporter.
func (s *scorer) Usage() backends.Usage {
	return backends.Usage{Instances: int(s.plugin.instances.Load()), Wanted: s.info.Concurrency, Metered: true, Fuel: s.plugin.fuel.Load()}
}

// Close implements sdk.Scorer.
func (s *scorer) Close() error {
	s.mu.Lock()
	s.closed = true
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	s.shrink.Stop()
	var errs []error
	for _, i := range idle {
		errs = append(errs, i.close())
	}
	return errors.Join(append(errs, s.plugin.close())...)
}

// get returns an idle or a new instance. The caller holds a slot for it.
func (s *scorer) get(ctx context.Context) (*instance, error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		i := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		return i, nil
	}
	s.mu.Unlock()
	i, err := s.plugin.instantiate(ctx)
	if err != nil {
		return nil, err
	}
	i.fresh = s.fresh
	if _, err = i.describe(ctx); err == nil {
		err = i.init(ctx, s.start)
	}
	if err == nil && s.revive != nil {
		err = s.revive(ctx, i)
	}
	if err != nil {
		return nil, errors.Join(err, i.close())
	}
	return i, nil
}

// put returns an instance to the pool, or closes it if it is lost.
func (s *scorer) put(i *instance) {
	if i.lost != nil {
		_ = i.close()
		return
	}
	i.used = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = max(s.memory, int64(i.module.Memory().Size()))
	s.idle = append(s.idle, i)
	if len(s.idle) == 2 { // one always stays
		s.shrink.Reset(idleAfter)
	}
}

// closeIdle closes the instances that were idle for long.
func (s *scorer) closeIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.idle)-1 && time.Since(s.idle[n].used) >= idleAfter {
		_ = s.idle[n].close()
		n++
	}
	s.idle = append(s.idle[:0], s.idle[n:]...)
	if len(s.idle) > 1 && !s.closed {
		s.shrink.Reset(idleAfter)
	}
}

// Score implements sdk.Scorer. It writes the matrix into the instance's memory and
// scores it with one call.
func (s *scorer) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if in.Rows() == 0 {
		return nil
	}
	i, err := s.get(ctx)
	if err != nil {
		return fault(ctx, err)
	}
	defer s.put(i)
	defer i.end(ctx)
	return i.fault(ctx, s.run(ctx, i, exportScore, in, out))
}

// Explain implements sdk.Explainer.
func (e *explainer) Explain(ctx context.Context, in *sdk.Batch, out []float64) error {
	i, err := e.get(ctx)
	if err != nil {
		return fault(ctx, err)
	}
	defer e.put(i)
	defer i.end(ctx)
	return i.fault(ctx, e.run(ctx, i, exportExplain, in, out))
}

// fault marks an error as the module's, unless the call's time was up.
func fault(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	return &backends.FaultError{Err: err}
}

// fault marks the error of a call as the module's if the call cost the instance.
// Other errors are about the rows.
func (i *instance) fault(ctx context.Context, err error) error {
	if err == nil || i.lost == nil {
		return err
	}
	return fault(ctx, err)
}

// inputBytes returns the size of a batch as a matrix.
func (s *scorer) inputBytes(in *sdk.Batch) uint64 {
	width := 8
	if s.dtype == sdk.Float32 {
		width = 4
	}
	return uint64(in.Rows()) * uint64(len(s.info.Features)) * uint64(width)
}

// run calls score or explain.
func (s *scorer) run(ctx context.Context, i *instance, export string, in *sdk.Batch, out []float64) error {
	rows, cols, size := in.Rows(), len(s.info.Features), s.inputBytes(in)
	if err := i.reserveBlocks(ctx, size, 8*uint64(len(out))); err != nil {
		return err
	}
	view, err := i.view(i.in.at, uint32(size))
	if err != nil {
		return err
	}
	failed := s.write(view, in)
	if view, err = i.view(i.out.at, uint32(8*len(out))); err != nil {
		return err
	}
	fillNaN(view)
	status, err := i.call(ctx, export, uint64(i.in.at), uint64(rows), uint64(cols), uint64(i.out.at))
	if err != nil {
		return err
	}
	if err := i.check(ctx, export, status); err != nil {
		return err
	}
	if view, err = i.view(i.out.at, uint32(8*len(out))); err != nil { // the memory may have grown
		return err
	}
	read(out, view)
	if failed != nil {
		return &sdk.RowErrors{Rows: failed}
	}
	return nil
}

// write writes a batch as a row-major matrix. It returns errors for the rows that
// cannot be widened exactly, and writes zeros for them.
func (s *scorer) write(view []byte, in *sdk.Batch) []sdk.RowError {
	switch in.Dense() {
	case sdk.Float32:
		copy(view, asBytes(in.Float32s()))
		return nil
	case sdk.Float64:
		copy(view, asBytes(in.Float64s()))
		return nil
	case sdk.Int64:
		copy(view, asBytes(in.Int64s()))
		return nil
	}
	var failed []sdk.RowError
	cols := len(s.info.Features)
	for r := range in.Rows() {
		bad := -1
		for j := range cols {
			v, exact := backends.Widen(in.Column(j), r)
			if !exact && bad < 0 {
				bad = j
			}
			binary.LittleEndian.PutUint64(view[8*(r*cols+j):], math.Float64bits(v))
		}
		if bad >= 0 {
			failed = append(failed, sdk.RowError{Row: r, Field: s.info.Features[bad].Name, Reason: backends.Inexact})
		}
	}
	return failed
}

// asBytes returns the memory of numbers as bytes. All supported platforms are
// little-endian, as WebAssembly is.
func asBytes[T float32 | float64 | int64](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	var one T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(one)))
}

func fillNaN(view []byte) {
	nan := math.Float64bits(math.NaN())
	for at := 0; at < len(view); at += 8 {
		binary.LittleEndian.PutUint64(view[at:], nan)
	}
}

func read(out []float64, view []byte) { copy(asBytes(out), view) }

var (
	_ sdk.Scorer     = (*scorer)(nil)
	_ sdk.MemoryUser = (*scorer)(nil)
	_ sdk.Explainer  = (*explainer)(nil)
)
