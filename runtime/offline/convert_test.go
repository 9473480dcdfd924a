package offline_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// sums is a Scorer of one feature whose score is the feature.
type sums struct{ d *rows.Decoder }

func (s sums) Schema() *rows.Schema {
	m := manifest.Defaults()
	m.Features = []manifest.Feature{{Feature: sdk.Feature{Name: "x", DType: sdk.Float64}}}
	return rows.NewSchema(m)
}

func (s sums) Rows() *rows.Decoder { return s.d }

func (s sums) Warnings() []string { return nil }

func (s sums) Score(_ context.Context, _ int, each func(int, table.Answer) error) (int, error) {
	for i, v := range s.d.Batch().Float64s() {
		if err := each(i, table.Answer{Score: v}); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

type silent struct{}

func (silent) Write(p []byte) (int, error) { return len(p), nil }
func (silent) Close() error                { return nil }

// TestEndings checks that the ending of the output's name says its format, through all
// formats and back.
func TestEndings(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("a.csv"), []byte("x\n1.5\n2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	from := "a.csv"
	for _, to := range []string{"b.parquet", "c.json", "d.ndjson", "e.CSV", "f.txt", "g.jsonl", "h.pq", "i.csv"} {
		format, err := table.FormatOf(from)
		if err != nil {
			format = table.CSV // of f.txt
		}
		s := sums{}
		s.d = s.Schema().NewDecoder()
		total, failed, err := offline.ScoreFile(t.Context(), s, offline.Files{
			Input: at(from), Output: at(to), Format: format, Batch: 10, Table: table.Options{Extra: true},
			Progress: func(int64) io.WriteCloser { return silent{} },
		})
		if err != nil || total != 2 || failed != 0 {
			t.Fatalf("%s to %s: %d, %d, %v", from, to, total, failed, err)
		}
		text, err := os.ReadFile(at(to))
		if err != nil {
			t.Fatal(err)
		}
		begins := map[string]string{".parquet": "PAR1", ".pq": "PAR1", ".json": `[{"data":{"x":1.5}`, ".ndjson": `{"data":{"x":1.5}`, ".jsonl": `{"data":{"x":1.5}`, ".CSV": "x,", ".txt": "x,", ".csv": "x,"}[filepath.Ext(to)]
		if !strings.HasPrefix(string(text), begins) {
			t.Errorf("%s begins with %.80q", to, text)
		}
		from = to
	}
}
