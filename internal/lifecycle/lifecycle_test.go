package lifecycle

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestDrain checks that a draining host ends with its last connection.
func TestDrain(t *testing.T) {
	h := testkit.Serve(t, testkit.Options{Dir: t.TempDir()})
	failed := make(chan error, 1)
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the connection is open", func() bool { return h.Server.OpenConnections() == 1 })
	done := make(chan struct{})
	go func() { Drain(h.Server, failed, time.Hour, true); close(done) }()
	select {
	case <-done:
		t.Error("it did not wait for the connection")
	case <-time.After(5 * drainLook):
	}
	_ = conn.Close()
	<-done
	Drain(h.Server, failed, time.Millisecond, false) // ends when its time is over
	failed <- ErrLeft
	Drain(h.Server, failed, time.Hour, false) // or when the server fails
	if err := <-failed; !errors.Is(err, ErrLeft) {
		t.Error(err)
	}
}

// TestPartsThatHang checks that a part that hangs does not keep the others from
// being closed, and that the error names it.
func TestPartsThatHang(t *testing.T) { synctest.Test(t, partsThatHang) }

func partsThatHang(t *testing.T) {
	var mu sync.Mutex
	var closed []string
	var p Parts
	add := func(name string, err error) {
		p.Add(name, func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			closed = append(closed, name)
			return err
		})
	}
	forever := make(chan struct{})
	defer close(forever)
	broken := errors.New("broken")
	add("first", nil)
	add("second", broken)
	p.Add("stuck", func(context.Context) error { <-forever; return nil })
	add("last", nil)
	p.Add("late", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	err := p.Close(ctx)
	if !errors.Is(err, ErrLeft) || !errors.Is(err, broken) || !errors.Is(err, context.DeadlineExceeded) || !strings.HasSuffix(err.Error(), "still running: stuck") {
		t.Errorf("%v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got := strings.Join(closed, " "); got != "last second first" {
		t.Errorf("closed %s", got)
	}
}
