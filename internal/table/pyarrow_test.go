package table_test

import (
	"archive/zip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// pyarrowFiles describes the files that testdata/make/parquet.py wrote, and their
// contents.
type pyarrowFiles struct {
	Columns map[string][]any
	Types   map[string]map[string][]any // by file, then by dtype
	Refused []string

	files map[string]string // unpacked, by their names in the archive
}

func openPyarrow(t testing.TB) *pyarrowFiles {
	t.Helper()
	archive, err := zip.OpenReader("testdata/pyarrow.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	all := &pyarrowFiles{files: map[string]string{}}
	folder := t.TempDir()
	for _, entry := range archive.File {
		in, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if entry.Name == "values.json" {
			if err := json.Unmarshal(data, all); err != nil {
				t.Fatal(err)
			}
			continue
		}
		all.files[entry.Name] = filepath.Join(folder, strings.ReplaceAll(entry.Name, "/", "-"))
		if err := os.WriteFile(all.files[entry.Name], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// missing has what a missing value becomes in these tests, by dtype.
var missing = map[string]string{"float32": "nan", "float64": "nan", "int64": "-77", "bool": "true", "string": "none"}

// read reads a whole file in portions. It returns the values of each row's features,
// or the row's error.
func read(file string, s *rows.Schema, portion int) (values [][]any, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in, err := table.Open(table.Parquet, f, io.Discard, s, table.Options{Extra: true})
	if err != nil {
		return nil, err
	}
	for d := s.NewDecoder(); ; d.Reset() {
		n, err := in.Read(d, portion)
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return values, err
		}
		failed, kept := d.Failed(), 0
		for i := range n {
			if len(failed) > 0 && failed[0].Row == i {
				values, failed = append(values, []any{failed[0]}), failed[1:]
				continue
			}
			row := make([]any, len(s.Features()))
			for j := range row {
				row[j] = d.Batch().Value(kept, j)
			}
			kept++
			values = append(values, row)
		}
	}
}

// same reports whether a value that was read equals what Python recorded.
func same(t *testing.T, got, want any, dtype string) bool {
	t.Helper()
	if _, failed := got.(sdk.RowError); failed {
		_, wanted := want.(map[string]any)
		return wanted
	}
	if want == nil {
		want = missing[dtype]
	}
	switch v := got.(type) {
	case bool:
		return v == (want == true || want == "true")
	case string:
		return v == want
	case int64:
		return strconv.FormatInt(v, 10) == want
	case float32:
		if want == "nan" {
			return v != v
		}
		return hex.EncodeToString(binary.BigEndian.AppendUint32(nil, math.Float32bits(v))) == want || (v != v && isNaN(want))
	case float64:
		if want == "nan" {
			return math.IsNaN(v)
		}
		return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, math.Float64bits(v))) == want || (v != v && isNaN(want))
	}
	t.Fatalf("%T", got)
	return false
}

// isNaN reports whether bits in hex are a NaN, which means a missing value.
func isNaN(bits any) bool { return bits == "7fc00000" || bits == "7ff8000000000000" }

func dtypeOf(column string) string {
	switch name := strings.TrimSuffix(column, "_null"); {
	case strings.Contains(name, "int"):
		return "int64"
	case name == "category":
		return "string"
	default:
		return name
	}
}

// TestPyarrowMatrix checks that every value of every file comes back exactly,
// whatever the codec, encoding, pages and portions. LZ4 and run-length encoded truth
// values are refused.
func TestPyarrowMatrix(t *testing.T) {
	all := openPyarrow(t)
	var names, features []string
	for name := range all.Columns {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		features = append(features, fmt.Sprintf("{name: %s, dtype: %s, missing: %s}", name, dtypeOf(name), missing[dtypeOf(name)]))
	}
	s := schema(t, strings.Join(features, ", "))
	files := 0
	for name, file := range all.files {
		if !strings.HasPrefix(name, "matrix/") {
			continue
		}
		files++
		parts := strings.Split(strings.TrimSuffix(path.Base(name), ".parquet"), "-")
		size, err := strconv.Atoi(parts[3])
		if err != nil {
			t.Fatal(err)
		}
		for _, portion := range []int{1000, 17, 1} {
			got, err := read(file, s, portion)
			if parts[0] == "lz4" {
				if err == nil || !strings.Contains(err.Error(), "LZ4") {
					t.Errorf("%s: %v; want to be told what to write", name, err)
				}
				break
			}
			if parts[2] == "runs" {
				if err == nil || !strings.Contains(err.Error(), "RLE") {
					t.Errorf("%s: %v; want to be told what to write", name, err)
				}
				break
			}
			if err != nil || len(got) != size {
				t.Errorf("%s: %d rows, %v; want %d", name, len(got), err, size)
				continue
			}
			compareRows(t, name, all, names, got, parts[2] == "old")
		}
	}
	if files < 60 {
		t.Errorf("only %d files were read", files)
	}
}

func compareRows(t *testing.T, file string, all *pyarrowFiles, names []string, got [][]any, old bool) {
	t.Helper()
	for i, row := range got {
		for j, value := range row {
			want := all.Columns[names[j]][i]
			if old && strings.HasPrefix(names[j], "uint32") {
				want = nil // not in that file
			}
			if !same(t, value, want, dtypeOf(names[j])) {
				t.Errorf("%s, row %d, %s: %v; want %v", file, i, names[min(j, len(names)-1)], value, want)
				return
			}
		}
	}
}

// TestPyarrowTypes reads a column of each type as a feature of each dtype. The value
// is the exact number rounded once, or an error. Types that mean more than their
// numbers are refused.
func TestPyarrowTypes(t *testing.T) {
	all := openPyarrow(t)
	for name, dtypes := range all.Types {
		for dtype, want := range dtypes {
			got, err := read(all.files["types/"+name+".parquet"], schema(t, "{name: x, dtype: "+dtype+", missing: "+missing[dtype]+"}"), 100)
			if err != nil || len(got) != len(want) {
				t.Errorf("%s as %s: %d rows, %v; want %d", name, dtype, len(got), err, len(want))
				continue
			}
			for i := range got {
				if !same(t, got[i][0], want[i], dtype) {
					t.Errorf("%s as %s, row %d: %v; want %v", name, dtype, i, got[i][0], want[i])
				}
			}
		}
	}
	for _, name := range all.Refused {
		for dtype := range missing {
			got, err := read(all.files["types/"+name+".parquet"], schema(t, "{name: x, dtype: "+dtype+"}"), 100)
			if err == nil || !strings.Contains(err.Error(), `column "x"`) {
				t.Errorf("%s as %s: %v, %v; want an error that names the column", name, dtype, got, err)
			}
		}
	}
}
