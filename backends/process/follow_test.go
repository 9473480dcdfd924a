package process

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/pluginlog"
)

// TestEndedWhileItStarts ends a process before its start has been noticed. Its first
// line may then be printed but not read. Nothing must wait for that line to be read.
func TestEndedWhileItStarts(t *testing.T) {
	control, theirs, err := socketPair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	var out, said pipe
	if err := errors.Join(out.open(), said.open()); err != nil {
		t.Fatal(err)
	}
	p := &proc{log: pluginlog.New(slog.New(slog.DiscardHandler), time.Now, parse), ending: make(chan struct{}), done: make(chan struct{})}
	if err := p.take(control); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("it is not needed any more")
	p.kill(cause)
	if _, err := out.w.WriteString("1|1|unix|/plugin|grpc\n"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []report{{PID: 1}, {Over: true}} {
		if err := r.send(theirs); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.w.Close(), said.w.Close()); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	p.follow(control, out.r, said.r, started)
	if err := <-started; !errors.Is(err, cause) {
		t.Errorf("it started with %v", err)
	}
}
