// Package onnx opens ONNX graphs with ONNX Runtime.
//
// Package graph checks a graph in Go. Then a child process under limits loads
// and runs it; a graph that passes is proved. Only then does this process load
// it. The library is found at run time. Without it, or in a build without cgo,
// every graph is refused with an error that says what to do. Thresholds,
// orientation and calibration belong to the runtime.
package onnx

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/internal/guard"
	"github.com/pynomaly/pynomaly-runtime/internal/host"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Version is the release of ONNX Runtime that this package is tested with.
const Version = "1.28.0"

// The ways of proving a graph.
const (
	ProbeChild     = "child"
	ProbeInProcess = "in_process"
)

// Config says how to open graphs.
type Config struct {
	Library  string         // file of the library; empty: use Locate
	Forests  string         // ForestsAuto, which is the default, ForestsOff or ForestsOnly
	Probe    string         // ProbeChild or ProbeInProcess
	StateDir string         // keeps which graphs were proved; empty: forget them at exit
	Limiter  *child.Limiter // bounds the processes that prove graphs; nil: no bound
	Log      *slog.Logger
}

// Backend opens ONNX graphs.
type Backend struct {
	cfg         Config
	unavailable error // the error at the start
	proofs      *proofs
	loading     chan struct{} // one load at a time, so that its memory can be measured

	mu      sync.Mutex
	library string // empty: not loaded yet
	version string
}

var _ backends.Backend = (*Backend)(nil)

// New finds and loads ONNX Runtime, unless only forests are served. It never
// fails: Err returns the error, and Open tries again.
func New(cfg Config) *Backend {
	b := &Backend{cfg: cfg, loading: make(chan struct{}, 1), proofs: newProofs(cfg.StateDir, cfg.Limiter, cfg.Log)}
	if cfg.Forests != ForestsOnly {
		_, _, b.unavailable = b.find()
	}
	return b
}

// find loads ONNX Runtime unless it is loaded, and returns its file and
// version.
func (b *Backend) find() (library, version string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.library != "" {
		return b.library, b.version, nil
	}
	if err = compiled(); err == nil {
		library, err = Locate(b.cfg.Library)
	}
	if err == nil {
		version, err = initialise(library)
	}
	if err != nil {
		return "", "", fmt.Errorf("%w: ONNX models cannot be served: %w", backends.ErrUnavailable, err)
	}
	b.library, b.version = library, version
	return library, version, nil
}

// Err returns why ONNX models could not be served at the start, or nil.
func (b *Backend) Err() error { return b.unavailable }

// Library returns the file and the version of the library in use; both are empty
// if none is.
func (b *Backend) Library() (file, version string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.library, b.version
}

// Inspect returns the features, the input and the output of the graph that the manifest
// leaves out.
func (b *Backend) Inspect(_ context.Context, a backends.Artifact) (manifest.Derived, error) {
	d, g, err := inspect(a)
	if err != nil {
		return manifest.Derived{}, err
	}
	if given := a.Manifest.Limits.MaxBatchRows; d.MaxBatchRows < given && b.recognises(a, g, d) {
		d.MaxBatchRows = given // plans need no memory for each row of a call
	}
	return d, nil
}

// recognises reports whether a graph has a plan.
func (b *Backend) recognises(a backends.Artifact, g *graph.Model, d manifest.Derived) bool {
	a.Manifest = a.Manifest.With(d)
	bind, err := bindGraph(a.Manifest, g)
	if err != nil {
		return false
	}
	_, err = b.recognise(a, g, bind)
	return err == nil
}

// Open checks a graph, and returns a scorer that runs it: a plan of ours if the
// graph is recognised, else ONNX Runtime, which proves it first.
func (b *Backend) Open(ctx context.Context, a backends.Artifact) (sdk.Scorer, error) {
	var library, version string
	var missing error
	if b.cfg.Forests != ForestsOnly {
		library, version, missing = b.find()
	}
	if missing != nil && (b.cfg.Forests == ForestsOff || a.Original) {
		return nil, missing
	}
	g, rows, err := check(a)
	if err != nil {
		return nil, orMissing(missing, err)
	}
	bind, err := bindGraph(a.Manifest, g)
	if err != nil {
		return nil, orMissing(missing, fmt.Errorf("%w: %w", backends.ErrRefused, &backends.OwnError{Err: err}))
	}
	candidate, why := b.recognise(a, g, bind)
	if missing != nil || b.cfg.Forests == ForestsOnly {
		return candidate.alone(missing, why)
	}
	// From here on the original bytes are not used: the proof and the session
	// read what was checked.
	written := g.Append(make([]byte, 0, len(a.Bytes)+len(a.Bytes)/8))
	job := probeJob{
		Library: library, Graph: written, Locales: g.Locales(), Binding: *bind, Rows: encodeBatch(a.ProbeRows),
		MaxRows: rows, Fewer: !a.Manifest.Limits.RowsGiven, Memory: a.Manifest.Limits.Memory, Time: a.Manifest.Limits.LoadTimeout,
	}
	if candidate == nil {
		return b.open(ctx, a, g, job, version, why.Error())
	}
	return b.compete(ctx, a, g, candidate, job, version)
}

// open proves a graph and loads it into ONNX Runtime. The detail says why no plan serves.
func (b *Backend) open(ctx context.Context, a backends.Artifact, g *graph.Model, job probeJob, version, detail string) (sdk.Scorer, error) {
	found, err := b.prove(ctx, job, version)
	if err != nil {
		return nil, err
	}
	s, err := b.load(ctx, job, a.Manifest, g, found)
	if err != nil {
		return nil, err
	}
	s.engine = backends.Engine{Name: backends.EngineRuntime, Detail: detail}
	return s, nil
}

// prove runs a graph as the configuration says, unless it is proved.
func (b *Backend) prove(ctx context.Context, job probeJob, version string) (finding, error) {
	if b.cfg.Probe == ProbeInProcess {
		return b.inProcess(ctx, job)
	}
	return b.proofs.prove(ctx, job, version)
}

// orMissing returns why there is no library, if there is none: an error of a graph
// is no verdict then, since nothing could have served it.
func orMissing(missing, err error) error {
	if missing != nil {
		return missing
	}
	return err
}

// load makes the session within limits.load_timeout, counted from its turn. The
// call into the library cannot be cancelled: a session that comes too late is
// closed.
func (b *Backend) load(ctx context.Context, job probeJob, m *manifest.Manifest, g *graph.Model, found finding) (*scorer, error) {
	data, bind := job.Graph, job.Binding
	bind.OutputRank, bind.Width = found.OutputRank, found.OutputWidth
	select {
	case b.loading <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for another model to load: %w", ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, m.Limits.LoadTimeout)
	defer cancel()
	type result struct {
		scorer *scorer
		err    error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-b.loading }()
		before := host.ResidentBytes()
		var s *scorer
		err := guard.Call(func() (err error) {
			s, err = newScorer(data, &bind, m)
			return err
		})
		if err == nil {
			s.memory = max(2*int64(len(data)), host.ResidentBytes()-before)
			s.rows, s.each = g.Packet, g.Apart
			s.bounded = bounded(g, found.BatchTime, found.Rows)
			s.most = found.Rows
		}
		done <- result{s, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("%w: loading the graph: %w", kindOf(r.err), r.err)
		}
		return r.scorer, nil
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				if err := r.scorer.Close(); err != nil {
					b.cfg.Log.Error("closing a model that loaded too late", "error", err)
				}
			}
		}()
		return nil, fmt.Errorf("loading the graph: %w", ctx.Err())
	}
}

// The calls that a graph must be able to make in a short time to be bounded.
const (
	boundedRows = 64
	boundedTime = 10 * time.Millisecond
)

// bounded reports whether every call of boundedRows rows ends soon: the graph has no
// loops, and a call of the given number of rows took time in proportion.
func bounded(g *graph.Model, took time.Duration, rows int) bool {
	for _, op := range []string{"Loop", "Scan", "If"} {
		if g.Operators[op] > 0 {
			return false
		}
	}
	return took > 0 && float64(took)*min(1, boundedRows/float64(rows)) <= float64(boundedTime)
}

// inProcess proves a graph without a child process, for hosts that may not
// start processes and trust their models.
func (b *Backend) inProcess(ctx context.Context, job probeJob) (finding, error) {
	ctx, cancel := context.WithTimeout(ctx, job.Time)
	defer cancel()
	type result struct {
		finding
		err error
	}
	done := make(chan result, 1)
	go func() {
		var f finding
		err := guard.Call(func() (err error) {
			f, err = runProbe(ctx, job)
			return err
		})
		done <- result{f, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return r.finding, fmt.Errorf("%w: %w", backends.ErrRefused, r.err)
		}
		return r.finding, nil
	case <-ctx.Done():
		return finding{}, fmt.Errorf("proving the graph: %w", ctx.Err())
	}
}

// kindOf returns the kind of an error of loading a graph that was proved. If
// memory ran out, this process is the cause and not the graph.
func kindOf(err error) error {
	if outOfMemory(err) {
		return backends.ErrSurroundings
	}
	return backends.ErrRefused
}

// outOfMemory reports whether the library's error is about a lack of memory.
func outOfMemory(err error) bool {
	text := err.Error()
	return strings.Contains(text, "bad_alloc") || strings.Contains(text, "Failed to allocate memory")
}

// finding is the result of a probe.
type finding struct {
	OutputRank int
	// OutputWidth is how many values per row the output has; 0: one.
	OutputWidth int `json:",omitempty"`
	Rows        int // of the largest call that fits the memory: MaxRows, or fewer
	LoadTime    time.Duration
	BatchTime   time.Duration // of one call of so many rows
	// Forests says how the plan of the graph was found equal to it, by the names
	// of the comparisons. It is not changed.
	Forests map[string]string `json:",omitempty"`
}
