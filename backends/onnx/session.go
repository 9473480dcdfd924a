//go:build cgo

package onnx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// initialising guards the library: a process has only one.
var initialising sync.Mutex

// compiled returns nil: the package can load the library.
func compiled() error { return nil }

// initialise loads the library once per process and returns its version.
func initialise(library string) (string, error) {
	initialising.Lock()
	defer initialising.Unlock()
	if !ort.IsInitialized() {
		// Releases from 1.29 on would send telemetry.
		if err := os.Setenv("ORT_DISABLE_TELEMETRY", "1"); err != nil {
			return "", fmt.Errorf("switching telemetry off: %w", err)
		}
		ort.SetSharedLibraryPath(library)
		if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
			return "", fmt.Errorf("loading %s: %w", library, err)
		}
	}
	version := ort.GetVersion()
	if !strings.HasPrefix(version, "1.26.") && !strings.HasPrefix(version, "1.27.") && !strings.HasPrefix(version, "1.28.") {
		return version, fmt.Errorf("%s is ONNX Runtime %s; this host is tested with %s (1.26 to 1.28 work)", library, version, Version)
	}
	return version, nil
}

// scorer runs one session.
type scorer struct {
	session *ort.DynamicAdvancedSession
	bind    binding
	info    sdk.Info
	memory  int64
	rows    int // that calls must be a multiple of
	each    int // how often each row must stand in a call
	most    int // rows of a call that fit the memory
	bounded bool
	engine  backends.Engine

	mu    sync.Mutex
	lanes []*lane // idle ones
}

// mostKept is how many rows the tensors that stay with a lane have at most.
const mostKept = 8

// keptTensors are the tensors of calls of one size; nil: not made yet.
type keptTensors struct {
	inputs *tensors
	output *output
}

// lane holds what one call needs: its cancel switch, and tensors for few rows.
type lane struct {
	options *ort.RunOptions
	timer   *time.Timer               // tells the run to stop
	fired   chan struct{}             // by the timer, once it has told
	kept    [mostKept + 1]keptTensors // by the number of rows
	outF32  []float32
	padded  *sdk.Batch
}

// arm terminates the run when ctx ends. The returned function disarms it and
// reports whether the run was terminated before.
func (l *lane) arm(ctx context.Context) (disarm func() (told bool)) {
	if deadline, only := until.Only(ctx); only {
		l.timer.Reset(time.Until(deadline))
		return l.disarm
	}
	if ctx.Done() == nil {
		return func() bool { return false }
	}
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = l.options.Terminate() // the deadline is reported from ctx
		close(told)
	})
	return func() bool {
		if stop() {
			return false
		}
		<-told
		return true
	}
}

func (l *lane) disarm() bool {
	if l.timer.Stop() {
		return false
	}
	<-l.fired
	return true
}

func newScorer(data []byte, bind *binding, m *manifest.Manifest) (_ *scorer, err error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, fmt.Errorf("making session options: %w", err)
	}
	defer func() { err = errors.Join(err, options.Destroy()) }()
	// With one thread per call, scores are repeatable and requests are the only
	// source of parallelism. The arena would never return memory.
	err = errors.Join(
		options.SetIntraOpNumThreads(1),
		options.SetInterOpNumThreads(1),
		options.SetCpuMemArena(false),
		options.SetLogSeverityLevel(ort.LoggingLevelFatal),
		options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
	)
	if err != nil {
		return nil, fmt.Errorf("setting session options: %w", err)
	}
	session, err := ort.NewDynamicAdvancedSessionWithONNXData(data, bind.Inputs, []string{bind.Output}, options)
	if err != nil {
		return nil, explain(err)
	}
	return &scorer{session: session, bind: *bind, info: sdk.Info{
		Name: m.ID, Version: m.Version, Algorithm: m.Algorithm, Features: bind.Features, Stateful: m.Stateful,
	}}, nil
}

// Info implements sdk.Scorer.
func (s *scorer) Info() sdk.Info { return s.info }

// MemoryBytes implements sdk.MemoryUser; it is an estimate.
func (s *scorer) MemoryBytes() int64 { return s.memory }

// Fill implements backends.Filler.
func (s *scorer) Fill() (rows, each int) { return s.rows, s.each }

// MaxRows implements backends.RowLimiter.
func (s *scorer) MaxRows() int { return s.most }

// Bounded implements sdk.Bounded.
func (s *scorer) Bounded() bool { return s.bounded }

// Engine implements backends.EngineReporter.
func (s *scorer) Engine() backends.Engine { return s.engine }

// Close implements sdk.Scorer.
func (s *scorer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, l := range s.lanes {
		errs = append(errs, l.destroy())
	}
	s.lanes = nil
	errs = append(errs, s.session.Destroy())
	trim()
	return errors.Join(errs...)
}

func (s *scorer) lane() (*lane, error) {
	s.mu.Lock()
	if n := len(s.lanes); n > 0 {
		l := s.lanes[n-1]
		s.lanes = s.lanes[:n-1]
		s.mu.Unlock()
		return l, nil
	}
	s.mu.Unlock()
	options, err := ort.NewRunOptions()
	if err != nil {
		return nil, fmt.Errorf("making run options: %w", err)
	}
	l := &lane{options: options, fired: make(chan struct{}, 1)}
	l.timer = time.AfterFunc(time.Hour, func() {
		_ = l.options.Terminate()
		l.fired <- struct{}{}
	})
	l.timer.Stop()
	return l, nil
}

func (s *scorer) release(l *lane) {
	s.mu.Lock()
	s.lanes = append(s.lanes, l)
	s.mu.Unlock()
}

func (l *lane) destroy() error {
	errs := []error{l.options.Destroy()}
	for _, k := range l.kept {
		if k.inputs != nil {
			errs = append(errs, k.inputs.destroy(), k.output.destroy())
		}
	}
	return errors.Join(errs...)
}

// Score implements sdk.Scorer. At the deadline of ctx it terminates the run,
// which ends after the current kernel.
func (s *scorer) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if in.Rows() == 0 {
		return nil // some kernels of ONNX Runtime divide by the number of rows and crash
	}
	l, err := s.lane()
	if err != nil {
		return err
	}
	disarm := l.arm(ctx)
	defer func() {
		if disarm() {
			_ = l.options.UnsetTerminate()
		}
		s.release(l)
	}()
	err = s.score(ctx, l, in, out)
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("scoring %d rows: %w", in.Rows(), ctx.Err())
	}
	return err
}

func (s *scorer) score(ctx context.Context, l *lane, in *sdk.Batch, out []float64) error {
	fixed := s.bind.Fixed
	if fixed == 0 {
		return s.run(l, in, out)
	}
	if l.padded == nil {
		l.padded = sdk.NewBatch(in.Features())
		l.padded.Resize(fixed)
	}
	scores := make([]float64, fixed)
	for from := 0; from < in.Rows(); from += fixed {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(fixed, in.Rows()-from)
		for i := range fixed {
			l.padded.CopyRow(i, in, from+min(i, n-1))
		}
		if err := s.run(l, l.padded, scores); err != nil {
			return err
		}
		copy(out[from:from+n], scores)
	}
	return nil
}

// run makes one call of the library.
func (s *scorer) run(l *lane, in *sdk.Batch, out []float64) error {
	rows := in.Rows()
	keep := rows <= mostKept && s.bind.Fixed == 0 // single rows are the common case: their tensors stay
	var inputs *tensors
	var output *output
	var err error
	if keep {
		inputs, output = l.kept[rows].inputs, l.kept[rows].output
	}
	if inputs == nil {
		if inputs, err = newTensors(&s.bind, in, keep); err != nil {
			return err
		}
		if output, err = s.newOutput(l, rows, keep); err != nil {
			return errors.Join(err, inputs.destroy())
		}
		if keep {
			l.kept[rows] = keptTensors{inputs, output}
		} else {
			defer func() { _ = errors.Join(inputs.destroy(), output.destroy()) }()
		}
	}
	if err := inputs.fill(&s.bind, in); err != nil {
		return err
	}
	if err := s.session.RunWithOptions(inputs.values, output.values, l.options); err != nil {
		return explain(err)
	}
	if s.bind.wide() {
		output.reduce(&s.bind, in, out)
	} else {
		output.copy(out)
	}
	return nil
}

// explain makes the library's most common errors readable.
func explain(err error) error {
	if outOfMemory(err) {
		return fmt.Errorf("the memory limit (limits.memory) was reached: %w", err)
	}
	return err
}
