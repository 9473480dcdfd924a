// Package progress shows how far a file has been scored.
package progress

import (
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Bar returns a progress bar for a file of size bytes, or of unknown size if size is
// -1. Write to it what has been read. It is drawn on w if w is a terminal and quiet
// is false.
func Bar(w io.Writer, quiet bool, size int64) io.WriteCloser {
	f, ok := w.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return progressbar.DefaultBytesSilent(size)
	}
	return progressbar.NewOptions64(size, progressbar.OptionSetWriter(f), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription("scoring"), progressbar.OptionClearOnFinish())
}
