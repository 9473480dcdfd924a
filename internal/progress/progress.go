// Package progress shows people how far a file has been scored.
package progress

import (
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Bar returns a bar for so many bytes, -1 where that is not known, which is written what
// has been read. It is drawn on w where that is a terminal, unless it is to be quiet.
func Bar(w io.Writer, quiet bool, size int64) io.WriteCloser {
	f, ok := w.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return progressbar.DefaultBytesSilent(size)
	}
	return progressbar.NewOptions64(size, progressbar.OptionSetWriter(f), progressbar.OptionShowBytes(true),
		progressbar.OptionSetDescription("scoring"), progressbar.OptionClearOnFinish())
}
