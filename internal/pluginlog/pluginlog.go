// Package pluginlog limits the output of plugins of any kind. It turns what they
// print into lines of the host's log, and what they say into short printable texts.
package pluginlog

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

// Limits for one plugin.
const (
	MaxLine        = 4096     // bytes of a line; the rest is dropped
	MaxRecord      = 16 << 10 // bytes of a line that is a JSON object, and of a traceback
	LinesPerSecond = 20       // further lines are counted; a traceback is one
	MaxText        = 1000     // bytes of a text in a response or an error
	keptLines      = 8        // lines kept for Tail
	keptBytes      = 2048     // of the end of what was dropped, for Tail
)

// Text makes one printable line of bounded length from a plugin's text, such as the
// reason for refusing a row.
func Text(said []byte) string { return printable.Short(string(said), MaxText) }

// Log turns a plugin's output into lines of the host's log. It is an io.Writer that
// accepts everything, so that a plugin never has to wait. Its methods are safe for
// concurrent use.
type Log struct {
	log   *slog.Logger
	now   func() time.Time
	parse func(line []byte) (slog.Level, string)

	mu      sync.Mutex
	line    []byte
	skip    bool // drop the rest of the line
	second  time.Time
	lines   int // in this second
	dropped int
	last    []string
	lost    []byte // the end of what was dropped since the last logged line
	traced  string // the last text of several lines, such as a traceback
	again   int    // how often it came again in this second
	trace   traceback
}

// New returns a Log that writes to log. parse returns the level and the text of a
// line, which is never empty. If parse is nil, all lines have level info.
func New(log *slog.Logger, now func() time.Time, parse func(line []byte) (slog.Level, string)) *Log {
	if parse == nil {
		parse = func(line []byte) (slog.Level, string) { return slog.LevelInfo, string(line) }
	}
	return &Log{log: log, now: now, parse: parse}
}

// Write implements io.Writer.
func (l *Log) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin()
	n := len(text)
	for len(text) > 0 {
		if l.lines >= LinesPerSecond { // do not even look: a flood of lines must be cheap
			l.drop(text)
			break
		}
		part, rest, whole := bytes.Cut(text, []byte("\n"))
		text = rest
		if !l.skip {
			cut := false
			if room := l.most(part) - len(l.line); len(part) > room {
				part, cut = part[:room], true
			}
			l.line = append(l.line, part...)
			if whole || cut {
				l.end(cut)
			}
			l.skip = cut
		}
		if whole {
			l.skip = false
		}
	}
	return n, nil
}

// most returns the most bytes of a line that begins with l.line, or with part if that
// is empty. l is locked.
func (l *Log) most(part []byte) int {
	if len(l.line) > 0 {
		part = l.line
	}
	if len(part) > 0 && part[0] == '{' {
		return MaxRecord
	}
	return MaxLine
}

// drop counts the lines of a text and drops all but its end. l is locked.
func (l *Log) drop(text []byte) {
	l.dropped += bytes.Count(text, []byte("\n"))
	l.lost = append(l.lost, text[max(0, len(text)-keptBytes):]...)
	if over := len(l.lost) - keptBytes; over > 0 {
		l.lost = append(l.lost[:0], l.lost[over:]...)
	}
	if text[len(text)-1] == '\n' {
		l.skip = false
		return
	}
	if !l.skip {
		l.dropped++
	}
	l.line, l.skip = l.line[:0], true
}

// begin begins another second if the last one is over. l is locked.
func (l *Log) begin() {
	if now := l.now(); now.Sub(l.second) >= time.Second {
		l.tell()
		l.second, l.lines = now, 0
	}
}

// end logs a line, or keeps it if it belongs to a traceback. l is locked.
func (l *Log) end(cut bool) {
	line := l.line
	l.line = l.line[:0]
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	switch l.trace.add(line) {
	case traceMore:
		return
	case traceWhole:
		l.endTrace()
		return
	}
	level, text := l.parse(line)
	l.record(level, printable.Lines(text), cut)
}

// endTrace logs the traceback so far. l is locked.
func (l *Log) endTrace() {
	if text := l.trace.take(); text != "" {
		l.record(slog.LevelError, printable.Lines(text), false)
	}
}

// record logs a text and keeps it for Tail, unless it is the last text of several lines
// once more in the same second: a detector that fails has the same traceback for each
// call. l is locked.
func (l *Log) record(level slog.Level, text string, cut bool) {
	l.lines++
	l.lost = l.lost[:0]
	if strings.Contains(text, "\n") {
		if text == l.traced {
			l.again++
			return
		}
		l.traced = text
	}
	if level >= slog.LevelInfo {
		l.last = append(l.last, text)
	}
	if len(l.last) > keptLines {
		l.last = append(l.last[:0], l.last[1:]...)
	}
	l.log.Log(context.Background(), level, "plugin printed", "text", text, "cut", cut)
}

// Refused logs why a plugin refused rows. It counts as a line.
func (l *Log) Refused(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin()
	if l.lines >= LinesPerSecond {
		l.dropped++
		return
	}
	l.lines++
	l.log.Warn("plugin refused rows", "text", text)
}

// Flush logs an incomplete line, how many lines were dropped, and the end of these: the
// last words of a plugin say why it ended.
func (l *Log) Flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin()
	if len(l.line) > 0 {
		l.end(false)
	}
	l.endTrace()
	l.tell()
	if text := string(l.lost); text != "" {
		l.record(slog.LevelInfo, printable.Lines(text), true)
	}
}

// Forget empties what Tail returns.
func (l *Log) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.lost = l.last[:0], l.lost[:0]
}

// tell logs how many lines were dropped, and how often a text came again, since its
// last call. l is locked.
func (l *Log) tell() {
	if l.dropped > 0 {
		l.log.Warn("plugin printed more lines than are kept", "dropped", l.dropped)
		l.dropped = 0
	}
	if l.again > 0 {
		l.log.Warn("plugin printed the same text again", "times", l.again)
	}
	l.traced, l.again = "", 0
}

// Tail returns the end of the plugin's output as one line, for an error. What a plugin
// prints for those who debug it is not in it.
func (l *Log) Tail() string { return l.TailBeside("") }

// TailBeside is Tail for an error that says why already. It leaves out tracebacks and
// stacks that begin or end with the same reason.
func (l *Log) TailBeside(reason string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var said []string
	for _, text := range l.last {
		if !repeats(text, reason) {
			said = append(said, printable.Line(text))
		}
	}
	if len(l.lost) > 0 {
		said = append(said, printable.Line(string(l.lost)))
	}
	text := strings.Join(said, "; ")
	if len(text) > MaxText {
		text = "..." + strings.ToValidUTF8(text[len(text)-MaxText:], "")
	}
	return text
}

// repeats reports whether the first or the last of several lines is a part of reason.
func repeats(text, reason string) bool {
	text = strings.TrimSpace(text)
	first, last := strings.IndexByte(text, '\n'), strings.LastIndexByte(text, '\n')
	return first > 0 && (strings.Contains(reason, text[:first]) || strings.Contains(reason, text[last+1:]))
}
