package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/pynomaly/pynomaly-runtime/internal/atomicfile"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
)

// Files say which rows are scored, and where they are written.
type Files struct {
	Input, Output string // names; - is Stdin and Stdout
	Stdin         io.Reader
	Stdout        io.Writer
	Format        string // of package table
	Batch         int    // rows of a call
	Extra         bool   // columns that are no features are carried through
	// Progress is told the input's size in bytes, -1 where it is not known, and given what
	// is read, but for Parquet. It is closed at the end.
	Progress func(size int64) io.WriteCloser
}

// ScoreFile scores the rows of the input, as Score does. A file appears under the output's
// name only when it is complete.
func ScoreFile(ctx context.Context, s Scorer, f Files) (total, failed int, err error) {
	in, size := f.Stdin, int64(-1)
	if f.Input != "-" {
		file, err := os.Open(f.Input)
		if err != nil {
			return 0, 0, fmt.Errorf("opening the input: %w", err)
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil {
			size = info.Size()
		}
		in = file
	}
	if f.Output == "-" {
		return f.score(ctx, s, in, size, f.Stdout)
	}
	out, err := atomicfile.Create(f.Output, 0o644) // a result, not a secret
	if err != nil {
		return 0, 0, fmt.Errorf("creating the output: %w", err)
	}
	if total, failed, err = f.score(ctx, s, in, size, out); err != nil {
		return total, failed, errors.Join(err, out.Discard())
	}
	return total, failed, out.Commit()
}

func (f Files) score(ctx context.Context, s Scorer, in io.Reader, size int64, out io.Writer) (total, failed int, err error) {
	progress := f.Progress(size)
	defer progress.Close()
	if f.Format != table.Parquet { // which is not read from its beginning to its end
		in = io.TeeReader(in, progress)
	}
	t, err := table.Open(f.Format, in, out, s.Schema(), table.Options{Extra: f.Extra})
	if err != nil {
		return 0, 0, err
	}
	return Score(ctx, s, t, f.Batch)
}
