// Package progress shows how far a file has been scored.
package progress

import (
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Bar returns a progress bar for a file of size bytes, or of unknown size if size is
// not positive. Write to it what has been read; Write never fails, also if more is
// read than size. The bar is drawn on w if w is a terminal and quiet is false.
func Bar(w io.Writer, quiet bool, size int64) io.WriteCloser {
	if size <= 0 {
		size = -1
	}
	f, ok := w.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return bar{progressbar.DefaultBytesSilent(size)}
	}
	return bar{progressbar.NewOptions64(size, progressbar.OptionSetWriter(f), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription("scoring"), progressbar.OptionClearOnFinish())}
}

// bar is a progress bar that cannot fail what it watches. The library's Write returns an
// error where a file grows while it is read.
type bar struct{ *progressbar.ProgressBar }

func (b bar) Write(p []byte) (int, error) {
	_, _ = b.ProgressBar.Write(p)
	return len(p), nil
}
