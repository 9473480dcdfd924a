//go:build linux

package process

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	shown "github.com/pynomaly/pynomaly-runtime/internal/printable"
)

// pluginLog turns what a plugin prints into lines of the host's log: so many a
// second, each so long. The last lines are kept, for errors. It is an io.Writer
// that takes everything, so that a plugin never waits for it.
type pluginLog struct {
	log *slog.Logger

	mu      sync.Mutex
	line    []byte
	cut     bool // the rest of the line is dropped
	window  time.Time
	lines   int
	dropped int
	last    []string
}

const (
	maxLine        = 4096
	linesPerSecond = 20
	keptLines      = 8
)

// Write implements io.Writer.
func (l *pluginLog) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(text)
	for len(text) > 0 {
		at := bytes.IndexByte(text, '\n')
		part := text
		if at >= 0 {
			part = text[:at]
		}
		if room := maxLine - len(l.line); len(part) > room {
			part, l.cut = part[:room], true
		}
		l.line = append(l.line, part...)
		if at < 0 {
			return n, nil
		}
		l.end()
		text = text[at+1:]
	}
	return n, nil
}

// flush ends an unfinished line.
func (l *pluginLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.line) > 0 {
		l.end()
	}
	l.told()
}

// end takes a whole line. l is locked.
func (l *pluginLog) end() {
	line, cut := l.line, l.cut
	l.line, l.cut = l.line[:0], false
	if now := time.Now(); now.Sub(l.window) >= time.Second {
		l.told()
		l.window, l.lines = now, 0
	}
	if l.lines >= linesPerSecond { // not even looked at: spamming must be cheap
		l.dropped++
		return
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	l.lines++
	level, text := parse(line)
	l.last = append(l.last, text)
	if len(l.last) > keptLines {
		l.last = append(l.last[:0], l.last[1:]...)
	}
	l.log.Log(context.Background(), level, "plugin printed", "text", text, "cut", cut)
}

func (l *pluginLog) told() {
	if l.dropped > 0 {
		l.log.Warn("plugin printed more lines than are kept", "dropped", l.dropped)
		l.dropped = 0
	}
}

// tail is the last that a plugin has printed, for an error.
func (l *pluginLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	const most = 1000
	text := strings.Join(l.last, "; ")
	if len(text) > most {
		text = "..." + strings.ToValidUTF8(text[len(text)-most:], "")
	}
	return text
}

// parse reads a line as go-plugin's logger writes them, or as it is. Nothing in it
// has to be what it should be.
func parse(line []byte) (slog.Level, string) {
	var entry map[string]any
	if line[0] != '{' || json.Unmarshal(line, &entry) != nil {
		return slog.LevelInfo, printable(line)
	}
	message, ok := entry["@message"].(string)
	if !ok {
		return slog.LevelInfo, printable(line)
	}
	level := slog.LevelInfo
	switch name, _ := entry["@level"].(string); name {
	case "trace", "debug":
		level = slog.LevelDebug
	case "warn":
		level = slog.LevelWarn
	case "error":
		level = slog.LevelError
	}
	for _, key := range []string{"@message", "@level", "@timestamp", "@module"} {
		delete(entry, key)
	}
	if len(entry) > 0 {
		if rest, err := json.Marshal(entry); err == nil {
			message += " " + string(rest)
		}
	}
	return level, printable([]byte(message))
}

// printable makes a plugin's text fit for logs and answers.
func printable(text []byte) string {
	const most = maxLine
	if len(text) > most {
		text = text[:most]
	}
	return shown.Line(string(text))
}
