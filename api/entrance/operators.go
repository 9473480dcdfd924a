package entrance

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/api/admin"
	"github.com/pynomaly/pynomaly-runtime/internal/listener"
)

// ServeOperators serves operators on a separate address, if one is configured, until
// stop is called. The host's own address has none of this.
func (e *Entrance) ServeOperators(ctx context.Context, address string, log *slog.Logger) (stop func(context.Context) error, err error) {
	if address == "" {
		return func(context.Context) error { return nil }, nil
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	ln, err := listener.Listen(ctx, host, port)
	if err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	s := admin.New(admin.Config{
		Gate: e.Gate, Loopback: listener.IsLoopback(ln.Addr()), Log: log,
		Show: func() any { return e.Current().Show() },
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ln); err != nil {
			log.Error("the address for operators is no longer served", "error", err)
		}
	})
	log.Info("serving operators", "address", ln.Addr().String())
	return func(ctx context.Context) error {
		err := s.Shutdown(ctx)
		wg.Wait()
		return err
	}, nil
}
