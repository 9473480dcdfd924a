package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/table"
)

// Files say which rows to score and where to write them.
type Files struct {
	Input, Output string // names; - means Stdin and Stdout
	Stdin         io.Reader
	Interrupt     func() // makes a read of Stdin that waits end; it is called after an error. nil: nothing does
	Stdout        io.Writer
	Format        string // of the input: a format of package table. The ending of Output says that of the output
	Batch         int    // rows per call
	Table         table.Options
	Warn          func(text string) // is called with each of the model's warnings, before rows are read; nil: nobody is told
	// Progress is called with the input's size in bytes, or -1 if unknown. What is
	// read is written to its result, except for Parquet, and the result is closed at
	// the end.
	Progress func(size int64) io.WriteCloser
}

// ScoreFile scores the rows of the input like Score. An output file has its name only
// when it is complete, with the mode of the file that it replaces, or the one that the
// process gives new files. Links are followed. An output that is no regular file, such
// as a pipe, is written straight.
func ScoreFile(ctx context.Context, s Scorer, f Files) (total, failed int, err error) {
	if err := table.CheckOutput(f.Output); f.Table.Output == "" && err != nil {
		return 0, 0, fmt.Errorf("choosing the output's format: %w", err)
	}
	if f.Warn != nil {
		for _, text := range s.Warnings() {
			f.Warn(text)
		}
	}
	in, size := f.Stdin, int64(-1)
	if f.Interrupt == nil {
		f.Interrupt = func() {}
	}
	if f.Input != "-" {
		file, err := os.Open(f.Input)
		if err != nil {
			return 0, 0, fmt.Errorf("opening the input: %w", err)
		}
		defer file.Close()
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() { // a pipe has no size
			size = info.Size()
		}
		in = file
		f.Interrupt = func() { _ = file.SetReadDeadline(time.Unix(0, 1)) } // a regular file has no deadlines, and needs none
	}
	if f.Output == "-" {
		return f.score(ctx, s, in, size, f.Stdout)
	}
	out, err := create(f.Output)
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
	if f.Format != table.Parquet { // Parquet is not read from beginning to end
		in = io.TeeReader(in, progress)
	}
	if f.Table.Output == "" {
		f.Table.Output = table.OutputFormat(f.Output)
	}
	if f.Table.Explain {
		e, ok := s.(Explainer)
		if !ok {
			return 0, 0, errors.New("this scorer explains nothing")
		}
		e.Explain()
	}
	t, err := table.Open(f.Format, in, out, s.Schema(), f.Table)
	if err != nil {
		return 0, 0, err
	}
	return scoreTable(ctx, s, t, f.Batch, f.Interrupt)
}
