package reload

import (
	"fmt"
	"os"
	"slices"
	"time"
)

// lookEvery is how often files are looked at.
const lookEvery = time.Second

// watch says when files have changed.
type watch struct {
	files        func() []string
	seen, before []string // how the files looked when they were taken up, and at the last look
}

// begin notes how the files look now. It is called before they are read, so that what
// changes meanwhile is seen later.
func (w *watch) begin() { w.seen = w.look() }

// changed looks at the files and reports whether they have changed. One may be half
// written: two looks must agree. Where one is gone or empty, it is about to be written.
func (w *watch) changed() bool {
	now := w.look()
	if slices.Equal(now, w.seen) || vanished(now, w.seen) {
		return false
	}
	twice := slices.Equal(now, w.before)
	w.before = now
	return twice
}

// absent is how a file looks that is not there, or empty.
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

// vanished reports whether a file that was there is not.
func vanished(now, before []string) bool {
	for i := range min(len(now), len(before)) {
		if now[i] == absent && before[i] != absent {
			return true
		}
	}
	return false
}
