// Package logs makes the host's loggers: one JSON object a line with timestamp,
// level, logger and message, or text for people.
package logs

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// New returns a logger that writes to w at the given level, which to follows from
// then on. Name it with Named before use.
func New(w io.Writer, to *slog.LevelVar, level, format string) (*slog.Logger, error) {
	if err := SetLevel(to, level); err != nil {
		return nil, err
	}
	opts := &slog.HandlerOptions{Level: to, ReplaceAttr: rename}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return slog.New(slog.NewJSONHandler(w, opts)), nil
}

// SetLevel changes the level of running loggers: debug, info, warn or error.
func SetLevel(to *slog.LevelVar, level string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return fmt.Errorf("reading the log level: %w", err)
	}
	to.Set(l)
	return nil
}

// Named returns a logger whose lines say which part of the host they are from.
func Named(l *slog.Logger, name string) *slog.Logger { return l.With("logger", name) }

func rename(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.TimeKey:
		a.Key = "timestamp"
	case slog.MessageKey:
		a.Key = "message"
	}
	return a
}

// Buffered collects lines and writes them when there are many or some time has
// passed, so that a line a request costs no system call each.
type Buffered struct {
	mu   sync.Mutex
	w    *bufio.Writer
	done chan struct{}
	wg   sync.WaitGroup
}

const (
	bufferBytes = 64 << 10
	flushEvery  = 200 * time.Millisecond
)

// NewBuffered returns a writer over w; Close writes what is left.
func NewBuffered(w io.Writer) *Buffered {
	b := &Buffered{w: bufio.NewWriterSize(w, bufferBytes), done: make(chan struct{})}
	b.wg.Go(func() {
		tick := time.NewTicker(flushEvery)
		defer tick.Stop()
		for {
			select {
			case <-b.done:
				return
			case <-tick.C:
				_ = b.Flush()
			}
		}
	})
	return b
}

// Write implements io.Writer.
func (b *Buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.w.Write(p)
}

// Flush writes what has been collected.
func (b *Buffered) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.w.Flush(); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	return nil
}

// Close writes what is left and stops.
func (b *Buffered) Close() error {
	close(b.done)
	b.wg.Wait()
	return b.Flush()
}
