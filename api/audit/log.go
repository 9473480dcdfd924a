package audit

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Config says where an audit is written.
type Config struct {
	File   string    // empty: Output
	Output io.Writer // such as standard output, or what NewSyslog returns; each Write is one line
	Rotate int64     // size in bytes at which the file is renamed and a new one begun; 0: never
	// Required means that an action must not be done if its line cannot be written.
	Required bool
	Now      func() time.Time
	Log      *slog.Logger
	Observe  func(error) // called with the result of each line; may be nil
}

// Log writes an audit. A nil Log writes nothing. It is safe for concurrent use.
type Log struct {
	cfg     Config
	mu      sync.Mutex
	file    *output // nil: Config.Output
	seq     uint64
	prev    string
	torn    string // for the next line
	buf     []byte
	trouble string // as it was logged
	closed  bool
}

// ErrNotWritten means that a line was not written.
var ErrNotWritten = errors.New("the audit cannot be written")

// Open begins an audit, or continues the one in the file. If an earlier host ended
// in the middle of a line, the part stays, and the next line records it.
func Open(c Config) (*Log, error) {
	l := &Log{cfg: c, prev: start}
	if c.File == "" {
		return l, nil
	}
	var err error
	var end tail
	if l.file, end, err = openOutput(c.File); err != nil {
		return nil, fmt.Errorf("opening the audit: %w", err)
	}
	l.seq, l.torn = end.seq, end.torn
	if end.hash != "" {
		l.prev = end.hash
	}
	if l.torn != "" {
		c.Log.Warn("the audit's last line was interrupted: it stays, and the next line records it", "file", c.File)
		if err := l.write(&Entry{Action: "audit_resumed", Outcome: "ok"}); err != nil {
			return nil, errors.Join(err, l.file.close())
		}
	}
	return l, nil
}

// Begin must be called before an action that must be audited. If the audit is
// required, it writes a line with the outcome "begun", and returns an error if that
// fails.
func (l *Log) Begin(e Entry) error {
	if l == nil || !l.cfg.Required {
		return nil
	}
	e.Outcome = "begun"
	return l.Write(e)
}

// Write writes a line. If that fails, it returns ErrNotWritten if the audit is
// required, and otherwise logs that the line is missing and returns nil.
func (l *Log) Write(e Entry) error {
	if l == nil {
		return nil
	}
	err := l.write(&e)
	if err != nil && l.cfg.Required {
		return err
	}
	return nil
}

func (l *Log) write(e *Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.append(e)
	if l.cfg.Observe != nil {
		l.cfg.Observe(err)
	}
	switch {
	case err == nil && l.trouble != "":
		l.trouble = ""
		l.cfg.Log.Info("the audit can be written again", "seq", l.seq)
	case err != nil && l.trouble != err.Error():
		l.trouble = err.Error()
		l.cfg.Log.Error("the audit cannot be written", "required", l.cfg.Required, "error", err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotWritten, err)
	}
	return nil
}

func (l *Log) append(e *Entry) error {
	if l.closed {
		return errors.New("it is closed")
	}
	e.torn = l.torn
	line, hash := appendLine(l.buf[:0], l.seq+1, l.cfg.Now(), l.prev, e)
	l.buf = line
	if l.file == nil {
		if _, err := l.cfg.Output.Write(line); err != nil {
			return err //nolint:wrapcheck // write does
		}
	} else {
		if l.cfg.Rotate > 0 && l.file.size > 0 && l.file.size+int64(len(line)) > l.cfg.Rotate && l.torn == "" {
			if err := l.file.rotate(l.seq); err != nil {
				return err
			}
		}
		if err := l.file.write(line, l.cfg.Required); err != nil {
			return err
		}
	}
	l.seq, l.prev, l.torn = l.seq+1, hash, ""
	return nil
}

// Close ends the audit. Later lines are refused.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.file == nil {
		l.closed = true
		return nil
	}
	l.closed = true
	return l.file.close()
}
