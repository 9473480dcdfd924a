package authoring

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// open opens the training rows and returns their format.
func openTraining(file string) (*os.File, string, error) {
	format, err := table.FormatOf(file)
	if err != nil {
		return nil, "", fmt.Errorf("%s: the name of training rows must end in .csv, .ndjson, .json or .parquet", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, "", fmt.Errorf("opening the training rows: %w", err)
	}
	return f, format, nil
}

// columnNames returns the column names of a file of training rows. Each must be a valid
// feature name.
func columnNames(file string) ([]string, error) {
	f, format, err := openTraining(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := table.Names(format, f)
	if err != nil {
		return nil, fmt.Errorf("reading the columns of %s: %w", file, err)
	}
	for j, name := range names {
		if strings.TrimSpace(name) != name {
			return nil, fmt.Errorf("%s: the name of column %d is %q: remove the spaces around it", file, j+1, name)
		}
		if name == "" || !utf8.ValidString(name) {
			return nil, fmt.Errorf("%s: the name of column %d is %q: name it, in UTF-8 (pandas writes its index as a column without a name; index=False leaves it out)", file, j+1, name)
		}
	}
	return names, nil
}

// readTraining reads training rows, and ignores columns that are not features.
func readTraining(file string, schema *rows.Schema) (*sdk.Batch, error) {
	f, format, err := openTraining(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := table.Open(format, f, io.Discard, schema, table.Options{Extra: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d := schema.NewDecoder()
	for {
		if _, err := t.Read(d, 1000); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if failed := d.Failed(); len(failed) > 0 {
		return nil, fmt.Errorf("%s: row %d: %s", file, failed[0].Row+1, offline.Reason(failed[0]))
	}
	const least = 10
	if n := d.Batch().Rows(); n < least {
		return nil, fmt.Errorf("%s has %d rows; at least %d are needed", file, n, least)
	}
	return d.Batch(), nil
}
