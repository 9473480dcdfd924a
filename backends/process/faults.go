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

// mostFaults is how many calls of Score may fail in a row before a process is doubted.
const mostFaults = 5

// isFault reports whether an error of a call says that the detector failed, whatever
// the rows are.
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

// translate gives a status the meaning that the protocol has for it.
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

// count counts the calls of Score that failed in a row, and keeps the first row that
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

// doubt finds out whether a process is to blame for failures, by a row that has been
// scored before, or only the rows that it was given. A process that fails again, or
// for which there is no such row, is ended. The caller's slot is given back.
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
		if err := s.scores(ctx, i.api.Score, good, make([]float64, 1)); err != nil && !errors.As(err, &rows) && !errors.Is(ctx.Err(), context.Canceled) {
			s.pool.lose(i, cause)
		}
	})
}

// wait sees to a call that came late: its slot is free when the plugin, which takes
// so many calls at once, takes another one. A plugin that does not come back is
// ended.
func (s *scorer) wait(i *instance) {
	patience := s.patience()
	s.aside(i, patience, func(ctx context.Context) {
		// Whatever else it answers, it was its turn. The plugin may notice the end of the
		// time before this side does.
		err := s.scores(ctx, i.api.Score, sdk.NewBatch(s.info.Features), nil)
		if status.Code(err) == codes.DeadlineExceeded || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			s.pool.lose(i, fmt.Errorf("it was ended: a call had not returned %v after its deadline", patience))
		}
	})
}

func (s *scorer) patience() time.Duration { return max(time.Second, s.program.model.Limits.Timeout) }

// aside does something with a slot that a call has left, and gives the slot back. The
// context ends after patience, and when the model is closed.
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
