package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/pynomaly/pynomaly-runtime/api/admin"
	"github.com/pynomaly/pynomaly-runtime/internal/listener"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
)

// serveAdmin answers operators on their own address, where one is configured.
func (h *running) serveAdmin(ctx context.Context) error {
	if h.cfg.Admin.Listen == "" {
		return nil
	}
	host, text, err := net.SplitHostPort(h.cfg.Admin.Listen)
	if err != nil {
		return fmt.Errorf("admin.listen: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("admin.listen: %w", err)
	}
	ln, err := listener.Listen(ctx, host, port)
	if err != nil {
		return fmt.Errorf("admin.listen: %w", err)
	}
	s := admin.New(admin.Config{
		Gate: h.door.Gate, Loopback: listener.IsLoopback(ln.Addr()), Log: logs.Named(h.base, "admin"),
		Show: func() any { return h.door.current().Show() },
	})
	var wg sync.WaitGroup
	h.Parts.Add("the address for operators", func(ctx context.Context) error {
		err := s.Shutdown(ctx)
		wg.Wait()
		return err
	})
	wg.Go(func() {
		if err := s.Serve(ln); err != nil {
			h.Log.Error("the address for operators is not served any more", "error", err)
		}
	})
	h.Log.Info("serving operators", "address", ln.Addr().String())
	return nil
}
