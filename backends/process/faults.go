//go:build linux

package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/wire"
)

// mostFaults is how many calls of Score in a row may fail before the process is
// checked.
const mostFaults = 5

// isFault reports whether an error says that the detector failed, not that rows are
// bad.
func isFault(err error) bool {
	var rows *sdk.RowErrors
	if err == nil || errors.As(err, &rows) {
		return false
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.Unavailable, codes.Unimplemented, codes.DeadlineExceeded, codes.Canceled:
		return false
	}
	return true
}

// translate converts a status to the error that the protocol assigns to it.
func translate(err error) error {
	text := message(err)
	switch status.Code(err) {
	case codes.DeadlineExceeded:
		return fmt.Errorf("%w: %s", context.DeadlineExceeded, text)
	case codes.Canceled:
		return fmt.Errorf("%w: %s", context.Canceled, text)
	case codes.Unimplemented:
		return fmt.Errorf("%w: %s", errors.ErrUnsupported, text)
	case codes.InvalidArgument:
		return errors.New(text)
	}
	if errors.Is(err, wire.ErrMalformed) {
		return &backends.FaultError{Err: err}
	}
	return &backends.FaultError{Err: errors.New(text)}
}

// count counts failures of Score since the last success. It keeps the first row that
// was scored.
func (s *scorer) count(i *instance, in *sdk.Batch, err error) {
	switch {
	case isFault(err):
		i.faults.Add(1)
		return
	case i.faults.Load() != 0:
		i.faults.Store(0)
	}
	if err == nil && s.good.Load() == nil && !s.info.Stateful {
		row := sdk.NewBatch(s.info.Features)
		row.Resize(1)
		row.CopyRow(0, in, 0)
		s.good.CompareAndSwap(nil, row)
	}
}

// doubt checks whether the process or the rows cause the failures: it scores a row
// that succeeded before. It ends the process if that fails, or if there is no such
// row. It releases the caller's slot.
func (s *scorer) doubt(i *instance, err error) {
	n := i.faults.Swap(0)
	cause := fmt.Errorf("it was ended: %d calls in a row failed, the last with: %s", n, message(err))
	good := s.good.Load()
	if good == nil {
		s.pool.lose(i, cause)
		s.pool.release(i)
		return
	}
	s.aside(i, s.patience(), func(ctx context.Context) {
		var rows *sdk.RowErrors
		if err := s.scores(ctx, i, "Score", i.api.Score, good, make([]float64, 1)); err != nil && !errors.As(err, &rows) && !errors.Is(ctx.Err(), context.Canceled) {
			s.pool.lose(i, cause)
		}
	})
}

// wait releases the slot of a call that came late once the plugin can take another
// call. It ends a plugin that does not return in time.
func (s *scorer) wait(i *instance) {
	patience := s.patience()
	s.aside(i, patience, func(ctx context.Context) {
		// Any other result shows that a slot is free. The plugin may notice the
		// deadline before this side does.
		err := s.scores(ctx, i, "Score", i.api.Score, sdk.NewBatch(s.info.Features), nil)
		if status.Code(err) == codes.DeadlineExceeded || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			s.pool.lose(i, fmt.Errorf("it was ended: a call had not returned %v after its deadline", patience))
		}
	})
}

func (s *scorer) patience() time.Duration { return max(time.Second, s.program.model.Limits.Timeout) }

// aside runs do in the background with a slot that its caller leaves, then releases
// the slot. The context of do ends after patience or when the model is closed.
func (s *scorer) aside(i *instance, patience time.Duration, do func(context.Context)) {
	s.overdue.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		go func() {
			select {
			case <-s.closing:
				cancel()
			case <-ctx.Done():
			}
		}()
		do(ctx)
		s.pool.release(i)
	})
}
