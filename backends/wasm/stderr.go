package wasm

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// stderrLog turns what a module prints into lines of the log: so many a second,
// each so long.
type stderrLog struct {
	log *slog.Logger

	mu      sync.Mutex
	line    []byte
	long    bool // the rest of the line is dropped
	window  time.Time
	lines   int
	dropped int
}

const (
	maxLine        = 1024
	linesPerSecond = 20
)

// refused logs why a module refused rows, in words that are fit for a log.
func (l *stderrLog) refused(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin()
	if l.lines >= linesPerSecond {
		l.dropped++
		return
	}
	l.lines++
	l.log.Warn("plugin refused rows", "text", text)
}

// begin begins another second where the last one is over. l is locked.
func (l *stderrLog) begin() {
	now := time.Now()
	if now.Sub(l.window) >= time.Second {
		if l.dropped > 0 {
			l.log.Warn("plugin printed more lines than are kept", "dropped", l.dropped)
		}
		l.window, l.lines, l.dropped = now, 0, 0
	}
}

func (l *stderrLog) write(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin()
	for len(text) > 0 {
		if l.lines >= linesPerSecond { // not even looked at: spamming must be cheap
			l.dropped++
			l.line, l.long = l.line[:0], false
			return
		}
		part, rest, whole := bytes.Cut(text, []byte("\n"))
		if room := maxLine - len(l.line); len(part) > room {
			part, l.long = part[:room], true
		}
		l.line = append(l.line, part...)
		text = rest
		if !whole && len(l.line) < maxLine {
			return
		}
		if whole || l.long {
			l.lines++
			l.log.Info("plugin printed", "text", strings.ToValidUTF8(string(l.line), "\uFFFD"), "cut", l.long)
			l.line, l.long = l.line[:0], false
		}
		if !whole {
			return
		}
	}
}
