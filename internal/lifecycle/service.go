package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Service is a program that serves until it is told to stop.
type Service struct {
	Parts    Parts // filled by Start
	Start    func(context.Context) error
	Drain    func()        // called when the service is told to stop; may take its time
	Failed   chan error    // buffered for one error: why the service has failed
	Shutdown time.Duration // time limit for closing all parts
	Log      *slog.Logger
}

// Run serves until ctx ends or the service fails. Then it closes the parts in order
// and in time.
func (s *Service) Run(ctx context.Context) error {
	started := make(chan error, 1)
	go func() { started <- s.Start(ctx) }() // if it does not return, the process is about to end
	var err error
	select {
	case err = <-started:
	case <-ctx.Done():
		if err = WaitFor(started, s.Shutdown); errors.Is(err, ErrLeft) {
			return fmt.Errorf("stopping while the host starts: %w", err)
		}
	}
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			s.Log.Info("stopped before the host served")
			err = nil
		}
		return errors.Join(err, s.close(ctx))
	}
	select {
	case err = <-s.Failed:
	case <-ctx.Done():
		s.Drain()
	}
	if err = errors.Join(err, s.close(ctx)); err != nil {
		s.Log.Error("stopped, but not in order", "error", err)
		return err
	}
	s.Log.Info("stopped")
	return nil
}

func (s *Service) close(ctx context.Context) error {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Shutdown)
	defer cancel()
	return s.Parts.Close(end)
}
