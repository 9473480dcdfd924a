//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/pluginv1"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/wire"
)

// stateful is a scorer whose only process remembers rows. If it ends, the next
// process starts from the last snapshot that was saved or loaded.
type stateful struct {
	*scorer
	resets atomic.Uint64

	mu       sync.Mutex
	snapshot []byte // nil: none
}

// statefulExplainer is a stateful scorer whose plugin explains its scores.
type statefulExplainer struct {
	*stateful
	explainer explainer
}

// Explain implements sdk.Explainer.
func (s *statefulExplainer) Explain(ctx context.Context, in *sdk.Batch, out []float64) error {
	return s.explainer.Explain(ctx, in, out)
}

// maxState is the largest size of a snapshot.
const maxState = 64 << 20

// Resets implements sdk.Resetter.
func (s *stateful) Resets() uint64 { return s.resets.Load() }

// start starts a process in place of one that has ended.
func (s *stateful) start(ctx context.Context) (*instance, error) {
	i, err := s.scorer.start(ctx)
	if err != nil {
		return nil, err
	}
	i.concurrency = 1
	s.mu.Lock()
	snapshot := s.snapshot
	s.mu.Unlock()
	if snapshot == nil {
		s.resets.Add(1)
		s.log.Warn("the process of a stateful plugin was lost; there is no snapshot, so the new one starts from the model's files")
		return i, nil
	}
	if _, err := i.api.LoadState(ctx, &pluginv1.LoadStateRequest{State: snapshot}); err != nil {
		if ctx.Err() == nil && status.Code(err) != codes.Unavailable {
			s.keep(nil)
			s.log.Warn("the last snapshot cannot be loaded; the next process starts from the model's files", "error", message(err))
		}
		if brokeOff(err) {
			i.proc.settled(ctx)
		}
		return nil, i.abandon(ctx, fmt.Errorf("loading the last snapshot: %s", message(err)))
	}
	s.resets.Add(1)
	s.log.Warn("the process of a stateful plugin was lost; the new one starts from the last snapshot", "bytes", len(snapshot))
	return i, nil
}

// Learn implements sdk.Learner.
func (s *stateful) Learn(ctx context.Context, in *sdk.Batch) error {
	if in.Rows() == 0 {
		return nil
	}
	in, failed := s.convert(in)
	if failed != nil {
		return &sdk.RowErrors{Rows: failed}
	}
	return s.again(ctx, func(i *instance) (err error) {
		ctx, end := traced(ctx, i, "Learn")
		defer func() { end(err) }()
		stream, err := i.api.Learn(ctx, grpc.MaxCallRecvMsgSize(answerSize(in.Rows(), 0)))
		if err != nil {
			return err
		}
		_ = wire.Send(in, stream.Send) // the response says what was wrong
		answer, err := stream.CloseAndRecv()
		if err != nil {
			return err
		}
		rows, err := wire.RowErrors(answer.GetErrors(), in.Rows())
		if rows != nil {
			return rows
		}
		return err
	})
}

// Save implements sdk.Snapshotter.
func (s *stateful) Save(ctx context.Context) ([]byte, error) {
	var state []byte
	err := s.again(ctx, func(i *instance) error {
		answer, err := i.api.SaveState(ctx, &pluginv1.SaveStateRequest{})
		state = answer.GetState()
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(state) == 0:
		return nil, fmt.Errorf("the plugin returns no snapshot: %w", errors.ErrUnsupported)
	case len(state) > maxState:
		return nil, fmt.Errorf("the snapshot has %d bytes; at most %d are kept", len(state), maxState)
	}
	s.keep(state)
	return append([]byte(nil), state...), nil
}

func (s *stateful) keep(state []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot = state
}

// Load implements sdk.Snapshotter. If it fails, the process may have loaded a part
// of the state, so it is replaced by one in the former state.
func (s *stateful) Load(ctx context.Context, state []byte) error {
	if len(state) == 0 || len(state) > maxState {
		return fmt.Errorf("a snapshot of %d bytes cannot be loaded", len(state))
	}
	err := s.again(ctx, func(i *instance) error {
		_, err := i.api.LoadState(ctx, &pluginv1.LoadStateRequest{State: state})
		if err != nil && ctx.Err() == nil {
			s.pool.replace(i, errors.New("it was ended: it could not load a snapshot"))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("loading a snapshot: %w", err)
	}
	s.keep(append([]byte(nil), state...))
	return nil
}

var (
	_ sdk.Learner     = (*stateful)(nil)
	_ sdk.Snapshotter = (*stateful)(nil)
	_ sdk.MemoryUser  = (*stateful)(nil)
	_ sdk.Resetter    = (*stateful)(nil)
	_ sdk.Explainer   = (*statefulExplainer)(nil)
)
