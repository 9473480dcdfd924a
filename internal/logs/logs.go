// Package logs makes the host's loggers. They write one JSON object per line, with
// timestamp, level, logger and message, or text for people.
package logs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// New returns a logger that writes to w at the given level, which it stores in to:
// changing to changes the logger's level. Name the logger with Named before use. If
// w is a Buffered, the logger also logs what was lost.
func New(w io.Writer, to *slog.LevelVar, level, format string) (*slog.Logger, error) {
	if err := SetLevel(to, level); err != nil {
		return nil, err
	}
	opts := &slog.HandlerOptions{Level: to, ReplaceAttr: rename}
	l := slog.New(newHandler(w, func(w io.Writer) slog.Handler {
		if format == "text" {
			return slog.NewTextHandler(w, opts)
		}
		return slog.NewJSONHandler(w, opts)
	}))
	if b, ok := w.(*Buffered); ok {
		b.log.Store(Named(l, "logs"))
	}
	return l, nil
}

// SetLevel changes the level of running loggers to debug, info, warn or error.
func SetLevel(to *slog.LevelVar, level string) error {
	l, err := ParseLevel(level)
	if err == nil {
		to.Set(l)
	}
	return err
}

// ParseLevel parses a level: debug, info, warn or error.
func ParseLevel(level string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return l, fmt.Errorf("reading the log level: %w", err)
	}
	return l, nil
}

// Named returns a logger whose lines name a part of the host.
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

// Audit returns the logger of who did what. While the log cannot be written, its
// lines are kept as long as errors are.
func Audit(l *slog.Logger) *slog.Logger { return Named(classed(l, important), "audit") }

// handler writes each record to the writer of its class.
type handler struct {
	by    [classes]slog.Handler
	below class // class of records below warnings
}

// newHandler makes a handler that writes to w.
func newHandler(w io.Writer, format func(io.Writer) slog.Handler) *handler {
	h := &handler{below: usual}
	for c := range classes {
		h.by[c] = format(writerFor(w, c))
	}
	return h
}

// classed returns l with another class for records below warnings.
func classed(l *slog.Logger, below class) *slog.Logger {
	if h, ok := l.Handler().(*handler); ok {
		return slog.New(&handler{h.by, below})
	}
	return l
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.by[usual].Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	c := h.below
	if r.Level >= slog.LevelWarn {
		c = important
	}
	return h.by[c].Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.each(func(one slog.Handler) slog.Handler { return one.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return h.each(func(one slog.Handler) slog.Handler { return one.WithGroup(name) })
}

func (h *handler) each(change func(slog.Handler) slog.Handler) *handler {
	out := &handler{below: h.below}
	for c, one := range h.by {
		out.by[c] = change(one)
	}
	return out
}
