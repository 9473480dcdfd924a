package authoring

import (
	"encoding/csv"
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

// csvHeader returns the column names of a CSV file. Each must be a valid feature
// name.
func csvHeader(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("opening the training rows: %w", err)
	}
	defer f.Close()
	header, err := csv.NewReader(table.WithoutBOM(f)).Read()
	if err != nil {
		return nil, fmt.Errorf("reading the header of %s: %w", file, err)
	}
	for j, name := range header {
		if strings.TrimSpace(name) != name {
			return nil, fmt.Errorf("%s: the name of column %d is %q: remove the spaces around it", file, j+1, name)
		}
		if name == "" || !utf8.ValidString(name) {
			return nil, fmt.Errorf("%s: the name of column %d is %q: name it, in UTF-8 (pandas writes its index as a column without a name; index=False leaves it out)", file, j+1, name)
		}
	}
	return header, nil
}

// readTraining reads rows from a CSV file, and ignores columns that are not
// features.
func readTraining(file string, schema *rows.Schema) (*sdk.Batch, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("opening the training rows: %w", err)
	}
	defer f.Close()
	t, err := table.Open(table.CSV, f, io.Discard, schema, table.Options{Extra: true})
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
