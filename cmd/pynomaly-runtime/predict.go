package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pynomaly/pynomaly-runtime/api/client/remote"
	"github.com/pynomaly/pynomaly-runtime/internal/authoring"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
	"github.com/pynomaly/pynomaly-runtime/internal/lifecycle"
	"github.com/pynomaly/pynomaly-runtime/internal/progress"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
)

// rowsFailed is the exit code when some rows could not be scored.
const rowsFailed = 2

type predictOptions struct {
	file, output, format string
	rows                 int
	quiet                bool
	delimiter            string
	table                table.Options
	host                 remote.Host
}

func predictCommand(s streams) *cobra.Command {
	var o predictOptions
	cmd := &cobra.Command{
		Use:   "predict MODEL INPUT",
		Short: "Score a file: CSV, NDJSON, JSON or Parquet in and out, with predictions",
		Long: `Scores every row of a file in constant memory, and writes the rows in their order. All
processors score, unless the model is stateful.

CSV may have the delimiters , ; | and tab. NDJSON may also be one JSON array of rows. The
ending of --output says its format: .csv, .ndjson, .jsonl, .json (an array), .parquet or .pq.
Endings of other formats, such as .xlsx and .csv.gz, are refused; any other name, and standard
output, get the format of the input.

MODEL is a model's directory, a bare .onnx file, or id or id@version in the models
directory. INPUT is a file, or - for standard input, which needs --format. The output has
the input's columns and prediction, score, is_anomaly, confidence and error; a name that
the input has already gets a number. With --host a running host scores the rows: MODEL is
an id or id@version there, and the key is in --key-file or PYNOMALY_KEY.

Exit codes: 0 all rows were scored, 2 some were not (their error says why), 1 anything else.`,
		Example: `  pynomaly-runtime predict testdata/models/pima-lof/1.0.0 rows.csv -o scored.csv
  cat rows.ndjson | pynomaly-runtime predict pima-lof - --format ndjson
  pynomaly-runtime predict pima-lof rows.csv -o scored.csv --host http://127.0.0.1:8080`,
		Args: cobra.ExactArgs(2), ValidArgsFunction: completeModels,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.rows < 1 {
				return errors.New("--batch-size must be at least 1")
			}
			if o.table.Delimiter, err = table.ParseDelimiter(o.delimiter); err != nil {
				return fmt.Errorf("--delimiter: %w", err)
			}
			if o.format == "" {
				if o.format, err = table.FormatOf(args[1]); err != nil {
					return err
				}
			}
			if o.host.URL != "" {
				o.host.Key = os.Getenv("PYNOMALY_KEY")
				model, err := o.host.Open(cmd.Context(), args[0])
				if err != nil {
					return fmt.Errorf("finding model %s on the host: %w", args[0], err)
				}
				defer model.Close()
				return score(cmd.Context(), s, model, args[1], o)
			}
			a, done, err := openAuthor(cmd, s, o.file)
			if err != nil {
				return err
			}
			defer done()
			return predict(cmd.Context(), s, a, args[0], args[1], o)
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func (o *predictOptions) addFlags(f *pflag.FlagSet) {
	f.StringVar(&o.file, "config", "", "configuration file (default: none)")
	f.StringVarP(&o.output, "output", "o", "-", "where to write; - is standard output")
	f.StringVar(&o.format, "format", "", "of the input: csv, ndjson, json or parquet (default: by its name)")
	f.IntVar(&o.rows, "batch-size", 1000, "rows of a chunk: each is scored in one call, several at the same time")
	o.host.AddFlags(f)
	f.BoolVar(&o.table.Extra, "extra", false, "copy columns that are not features")
	f.BoolVar(&o.table.Explain, "explain", false, "add what each feature contributes to the score")
	f.StringVar(&o.delimiter, "delimiter", "", "of CSV: a character, or tab (default: as the header shows)")
	f.StringVar(&o.table.Prefix, "prefix", "", "of the names of the added columns")
	f.StringSliceVar(&o.table.Missing, "missing", nil, "texts in CSV that mean that a value is missing, in all columns (default: the usual words, in columns of numbers)")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no progress bar, no summary, no warnings")
	config.AddFlags(f, "models", "onnxruntime", "onnx-forests", "onnx-probe", "onnx-trusted", "state-dir")
}

func predict(ctx context.Context, s streams, a authoring.Author, name, input string, o predictOptions) (err error) {
	at, err := a.Store.Resolve(name)
	if err != nil {
		return err
	}
	model, err := at.Open(ctx, a.With, batching.NewCalls(runtime.GOMAXPROCS(0)))
	if err != nil {
		return fmt.Errorf("opening model %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	local := offline.NewLocal(model)
	defer local.Release()
	return score(ctx, s, local, input, o)
}

func score(ctx context.Context, s streams, by offline.Scorer, input string, o predictOptions) error {
	in := s.in
	reading, interrupt := context.WithCancel(ctx)
	defer interrupt()
	if f, ok := in.(*os.File); ok {
		in = lifecycle.Input(reading, f)
	}
	total, failed, err := offline.ScoreFile(ctx, by, offline.Files{
		Input: input, Output: o.output, Stdin: in, Interrupt: interrupt, Stdout: s.raw.out, Format: o.format, Batch: o.rows, Table: o.table,
		Warn: func(text string) {
			if !o.quiet {
				fmt.Fprintln(s.err, "warning:", text)
			}
		},
		Progress: func(size int64) io.WriteCloser { return progress.Bar(s.raw.err, o.quiet, size) },
	})
	if err != nil {
		return err
	}
	if !o.quiet {
		fmt.Fprintf(s.err, "%d rows scored, %d failed\n", total-failed, failed)
	}
	if failed > 0 {
		return exitError(rowsFailed)
	}
	return nil
}
