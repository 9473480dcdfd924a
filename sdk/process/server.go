package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/pluginv1"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/wire"
)

// server implements the protocol for one detector.
type server struct {
	pluginv1.UnimplementedScorerServer
	detector Detector
	slots    chan struct{} // one token per concurrent call
	batches  sync.Pool     // of *sdk.Batch

	mu       sync.Mutex
	opening  bool
	scorer   sdk.Scorer // nil before Configure
	features []sdk.Feature
}

func newServer(d Detector) *server {
	return &server{detector: d, slots: make(chan struct{}, concurrency(d.Describe()))}
}

func concurrency(d Description) int {
	if d.Stateful {
		return 1
	}
	return max(1, d.Concurrency)
}

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scorer == nil {
		return
	}
	if err := s.scorer.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "closing the detector:", err)
	}
}

// Describe implements the protocol.
func (s *server) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	d := s.detector.Describe()
	return &pluginv1.DescribeResponse{
		Name: d.Name, Version: d.Version, Algorithm: d.Algorithm, Dtype: d.DType, Features: d.Features, Orientation: d.Orientation,
		Threshold: d.Threshold, Stateful: d.Stateful, Concurrency: uint32(concurrency(d)), Explains: d.Explains, Learns: d.Learns,
	}, nil
}

// Configure implements the protocol.
func (s *server) Configure(ctx context.Context, in *pluginv1.ConfigureRequest) (_ *pluginv1.ConfigureResponse, err error) {
	s.mu.Lock()
	again := s.opening
	s.opening = true
	s.mu.Unlock()
	if again {
		return nil, status.Error(codes.FailedPrecondition, "Configure was called twice")
	}
	setup := Setup{Config: json.RawMessage(in.GetConfigJson()), Dir: in.GetModelDir(), Files: in.GetFiles()}
	for _, f := range in.GetFeatures() {
		dtype, err := sdk.ParseDType(f.GetDtype())
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		setup.Features = append(setup.Features, sdk.Feature{Name: f.GetName(), DType: dtype})
	}
	var scorer sdk.Scorer
	err = guarded(func() error {
		scorer, err = s.detector.Open(ctx, setup)
		return err
	})
	if err != nil {
		return nil, asStatus(err)
	}
	s.mu.Lock()
	s.scorer, s.features = scorer, setup.Features
	s.mu.Unlock()
	return &pluginv1.ConfigureResponse{}, nil
}

// Score implements the protocol.
func (s *server) Score(stream grpc.ClientStreamingServer[pluginv1.ScoreChunk, pluginv1.ScoreResult]) error {
	return s.scores(stream, 1, func(ctx context.Context, scorer sdk.Scorer, in *sdk.Batch, out []float64) error {
		return scorer.Score(ctx, in, out)
	})
}

// Explain implements the protocol.
func (s *server) Explain(stream grpc.ClientStreamingServer[pluginv1.ScoreChunk, pluginv1.ScoreResult]) error {
	return s.scores(stream, 1+len(s.configured()), func(ctx context.Context, scorer sdk.Scorer, in *sdk.Batch, out []float64) error {
		e, ok := scorer.(sdk.Explainer)
		if !ok {
			return fmt.Errorf("the detector does not explain itself: %w", errors.ErrUnsupported)
		}
		return e.Explain(ctx, in, out)
	})
}

func (s *server) configured() []sdk.Feature {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.features
}

type scoring func(ctx context.Context, scorer sdk.Scorer, in *sdk.Batch, out []float64) error

// scores responds with width numbers per row.
func (s *server) scores(stream grpc.ClientStreamingServer[pluginv1.ScoreChunk, pluginv1.ScoreResult], width int, score scoring) error {
	var out []float64
	failed, err := s.call(stream.Context(), stream.Recv, func(ctx context.Context, scorer sdk.Scorer, in *sdk.Batch) error {
		out = make([]float64, in.Rows()*width)
		return score(ctx, scorer, in, out)
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&pluginv1.ScoreResult{Scores: wire.AppendFloat64s(make([]byte, 0, 8*len(out)), out), Errors: failed})
}

// Learn implements the protocol.
func (s *server) Learn(stream grpc.ClientStreamingServer[pluginv1.ScoreChunk, pluginv1.LearnResponse]) error {
	failed, err := s.call(stream.Context(), stream.Recv, func(ctx context.Context, scorer sdk.Scorer, in *sdk.Batch) error {
		l, ok := scorer.(sdk.Learner)
		if !ok {
			return fmt.Errorf("the detector does not learn: %w", errors.ErrUnsupported)
		}
		return l.Learn(ctx, in)
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(&pluginv1.LearnResponse{Errors: failed})
}

// call receives a batch, takes a slot and calls do. A batch without rows takes
// a slot, too: with it the host checks whether one is free.
func (s *server) call(ctx context.Context, recv func() (*pluginv1.ScoreChunk, error), do func(context.Context, sdk.Scorer, *sdk.Batch) error) ([]*pluginv1.RowError, error) {
	scorer, features, err := s.ready()
	if err != nil {
		return nil, err
	}
	in, ok := s.batches.Get().(*sdk.Batch)
	if !ok {
		in = sdk.NewBatch(features)
	}
	defer s.batches.Put(in) // the detector must not keep the batch
	err = wire.Receive(in, recv)
	if errors.Is(err, wire.ErrMalformed) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if err != nil {
		return nil, err
	}
	err = s.inSlot(ctx, func() error {
		if in.Rows() == 0 {
			return nil
		}
		return do(ctx, scorer, in)
	})
	var rows *sdk.RowErrors
	if errors.As(err, &rows) {
		return wire.Failed(rows), nil
	}
	return nil, asStatus(err)
}

func (s *server) ready() (sdk.Scorer, []sdk.Feature, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.scorer == nil {
		return nil, nil, status.Error(codes.FailedPrecondition, "Configure was not called")
	}
	return s.scorer, s.features, nil
}

func (s *server) inSlot(ctx context.Context, do func() error) error {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
		if err := ctx.Err(); err != nil {
			return err
		}
		return guarded(do)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// guarded calls do and turns a panic into an error.
func guarded(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			tell(fmt.Sprintf("the detector panicked: %v\n%s", v, debug.Stack()))
			err = fmt.Errorf("the detector panicked: %v", v)
		}
	}()
	return do()
}

// tell writes a text of several lines as one record of the host's log.
func tell(text string) {
	const most = 12 << 10
	if len(text) > most {
		text = text[:most] + "..."
	}
	line, err := json.Marshal(map[string]string{"@level": "error", "@message": text})
	if err != nil {
		line = []byte(text)
	}
	_, _ = os.Stderr.Write(append(line, '\n')) // the process continues
}

// SaveState implements the protocol.
func (s *server) SaveState(ctx context.Context, _ *pluginv1.SaveStateRequest) (*pluginv1.SaveStateResponse, error) {
	out := &pluginv1.SaveStateResponse{}
	err := s.state(ctx, func(keeper sdk.Snapshotter) (err error) {
		out.State, err = keeper.Save(ctx)
		return err
	})
	return out, err
}

// LoadState implements the protocol.
func (s *server) LoadState(ctx context.Context, in *pluginv1.LoadStateRequest) (*pluginv1.LoadStateResponse, error) {
	err := s.state(ctx, func(keeper sdk.Snapshotter) error { return keeper.Load(ctx, in.GetState()) })
	return &pluginv1.LoadStateResponse{}, err
}

func (s *server) state(ctx context.Context, do func(sdk.Snapshotter) error) error {
	scorer, _, err := s.ready()
	if err != nil {
		return err
	}
	keeper, ok := scorer.(sdk.Snapshotter)
	if !ok {
		return status.Error(codes.Unimplemented, "the detector keeps no state that could be saved")
	}
	return asStatus(s.inSlot(ctx, func() error { return do(keeper) }))
}

// asStatus converts an error to the protocol's status for it.
func asStatus(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case errors.Is(err, errors.ErrUnsupported):
		return status.Error(codes.Unimplemented, err.Error())
	case errors.Is(err, ErrInvalid):
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if s, ok := status.FromError(err); ok {
		return s.Err()
	}
	return status.Error(codes.Internal, err.Error())
}
