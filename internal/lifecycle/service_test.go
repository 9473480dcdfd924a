package lifecycle

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errBroken = errors.New("broken")

// TestService checks that however a service ends, its parts are closed and the
// reason is known.
func TestService(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(context.Context) error
		fails bool // after it has started to serve
		stop  time.Duration
		want  error
		log   string
		order string
	}{
		{"told to stop", nil, false, time.Minute, nil, "msg=stopped", "started drained closed"},
		{"fails to start", func(context.Context) error { return errBroken }, false, time.Hour, errBroken, "", "started closed"},
		{"told to stop while it starts", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, false, time.Second, nil, "stopped before the host served", "started closed"},
		{"hangs while it starts", func(ctx context.Context) error { time.Sleep(time.Hour); return ctx.Err() }, false, time.Second, ErrLeft, "", "started"},
		{"starts all the same", func(context.Context) error { time.Sleep(3 * time.Second); return nil }, false, time.Second, nil, "msg=stopped", "started drained closed"},
		{"fails while it serves", nil, true, time.Hour, errBroken, "stopped, but not in order", "started closed"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			var mu sync.Mutex // of order: a start that hangs goes on
			var order []string
			note := func(what string) { mu.Lock(); defer mu.Unlock(); order = append(order, what) }
			s := &Service{Failed: make(chan error, 1), Shutdown: 10 * time.Second, Log: slog.New(slog.NewTextHandler(&log, nil))}
			s.Drain = func() { note("drained") }
			s.Start = func(ctx context.Context) error {
				note("started")
				s.Parts.Add("part", func(context.Context) error { note("closed"); return nil })
				if c.fails {
					s.Failed <- errBroken
				}
				if c.start == nil {
					return nil
				}
				return c.start(ctx)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(c.stop, cancel)
			err := s.Run(ctx)
			if !errors.Is(err, c.want) || (c.want == nil && err != nil) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
			if !strings.Contains(log.String(), c.log) {
				t.Errorf("%s: logged %q, want %q", c.name, log.String(), c.log)
			}
			time.Sleep(2 * time.Hour) // of the bubble's clock: what hung has ended
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(order, " "); got != c.order {
				t.Errorf("%s: %s, want %s", c.name, got, c.order)
			}
		})
	}
}
