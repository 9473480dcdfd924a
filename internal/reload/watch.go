package reload

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// lookEvery is the interval at which files are checked.
const lookEvery = time.Second

// watch detects changes of files.
type watch struct {
	files        func() []string
	seen, before []string // the files' states when they were applied, and at the last check
}

// begin records the files' states. Call it before reading them, so that a change
// during reading is detected later.
func (w *watch) begin() { w.seen = w.look() }

// changed checks the files and reports whether they have changed. A file may be half
// written, so two checks must agree. A missing or empty file is about to be written
// and does not count as changed.
func (w *watch) changed() bool {
	now := w.look()
	if slices.Equal(now, w.seen) || vanished(now, w.seen) {
		return false
	}
	twice := slices.Equal(now, w.before)
	w.before = now
	return twice
}

// absent is the state of a missing or empty file.
const absent = ""

func (w *watch) look() []string {
	var out []string
	for _, file := range w.files() {
		stamp := absent
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			stamp = fmt.Sprint(file, " ", info.ModTime().UnixNano(), " ", info.Size())
		}
		out = append(out, stamp)
	}
	return out
}

// vanished reports whether a file that existed is missing now.
func vanished(now, before []string) bool {
	for i := range min(len(now), len(before)) {
		if now[i] == absent && before[i] != absent {
			return true
		}
	}
	return false
}
