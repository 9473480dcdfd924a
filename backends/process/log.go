//go:build linux

package process

import (
	"encoding/json"
	"log/slog"
)

// parse reads a line in the format of go-plugin's logger, or returns it as it is.
// Fields may be missing or have any type.
func parse(line []byte) (slog.Level, string) {
	var entry map[string]any
	if line[0] != '{' || json.Unmarshal(line, &entry) != nil {
		return slog.LevelInfo, string(line)
	}
	message, ok := entry["@message"].(string)
	if !ok {
		return slog.LevelInfo, string(line)
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
	return level, message
}
