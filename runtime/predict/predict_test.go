package predict_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/modelstore"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// identity is a detector whose score is the only feature: not finite below -100.
type identity struct{}

func (identity) Info() sdk.Info { return sdk.Info{} }
func (identity) Close() error   { return nil }
func (identity) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	for i, v := range in.Float64s() {
		if out[i] = v; v < -100 {
			out[i] = math.NaN()
		}
	}
	return nil
}

type backend struct{}

func (backend) Inspect(context.Context, backends.Artifact) (manifest.Derived, error) {
	return manifest.Derived{}, nil
}
func (backend) Open(context.Context, backends.Artifact) (sdk.Scorer, error) {
	return identity{}, nil
}

// open opens a model of the detector, whose threshold is 1.
func open(t testing.TB) *model.Model {
	t.Helper()
	const text = "apiVersion: pynomaly.io/v1\nkind: Model\nid: m\nversion: 1.0.0\nartifact: a\n" +
		"features: [{name: x, dtype: float64}]\nthreshold: 1\nlimits: {timeout: 5m, load_timeout: 10m}\n"
	dir := t.TempDir()
	for name, data := range map[string]string{"a": "a", manifest.FileName: text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := modelstore.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := found[0].Open(t.Context(), model.Backends{manifest.BackendONNX: backend{}}, batching.NewCalls(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func read(t testing.TB, c *predict.Call, rows string) {
	t.Helper()
	c.Rows().Reset()
	if err := c.Rows().JSONRows(&jsonscan.Scanner{Data: []byte(rows)}, 100); err != nil {
		t.Fatal(err)
	}
}

// TestRowsInOrder: good rows, rows that cannot be read and rows that cannot be scored
// come out in the order that they went in, and are counted once.
func TestRowsInOrder(t *testing.T) {
	m := open(t)
	p := predict.New(predict.Config{Now: time.Now}, nil)
	var c predict.Call
	p.Use(&c, m)
	defer p.Release(&c)
	for _, test := range []struct {
		rows              string
		want              string
		anomalies, failed int
	}{
		{`[[0],[2],[3]]`, "0 2! 3!", 2, 0},
		{`[["no"],[2],[-101],[0]]`, "unread:0 2! failed:2 0", 1, 2},
		{`[[-101],["no"],[-102]]`, "failed:0 unread:1 failed:2", 0, 3},
		{`[["no"]]`, "unread:0", 0, 1},
	} {
		read(t, &c, test.rows)
		r, err := p.Do(t.Context(), &c)
		if err != nil {
			t.Errorf("%s: %v", test.rows, err)
			continue
		}
		var got []string
		var row predict.Row
		for r.Next(&row) {
			switch {
			case row.Failed != nil && row.Failed.Field != "":
				got = append(got, fmt.Sprintf("unread:%d", row.Failed.Row))
			case row.Failed != nil:
				got = append(got, fmt.Sprintf("failed:%d", row.Failed.Row))
			case row.Anomaly:
				got = append(got, fmt.Sprintf("%v!", row.Score))
			default:
				got = append(got, fmt.Sprint(row.Score))
			}
		}
		if strings.Join(got, " ") != test.want || r.Anomalies != test.anomalies || r.Failed != test.failed {
			t.Errorf("%s: %v, %d anomalies, %d failed; want %s, %d, %d", test.rows, got, r.Anomalies, r.Failed, test.want, test.anomalies, test.failed)
		}
	}
	if s := m.Stats.Snapshot(); s.Requests != 4 {
		t.Errorf("%d requests were counted", s.Requests)
	}
}

// TestSingle: the failure of a single row is the call's.
func TestSingle(t *testing.T) {
	m := open(t)
	p := predict.New(predict.Config{Now: time.Now}, nil)
	c := predict.Call{Single: true}
	p.Use(&c, m)
	defer p.Release(&c)
	for _, rows := range []string{`[["no"]]`, `[[-101]]`} {
		read(t, &c, rows)
		var failed *sdk.RowErrors
		if _, err := p.Do(t.Context(), &c); !errors.As(err, &failed) || len(failed.Rows) != 1 {
			t.Errorf("%s: %v; want an *sdk.RowErrors", rows, err)
		}
	}
	read(t, &c, `[[2]]`)
	if _, err := p.Do(t.Context(), &c); err != nil {
		t.Error(err)
	}
	if s := m.Stats.Snapshot(); s.Requests != 1 {
		t.Errorf("%d requests were counted", s.Requests)
	}
}

// TestNothingPerRow: a call of many rows allocates as little as one of few.
func TestNothingPerRow(t *testing.T) {
	m := open(t)
	p := predict.New(predict.Config{Now: time.Now}, nil)
	var c predict.Call
	p.Use(&c, m)
	defer p.Release(&c)
	allocations := func(rows int) float64 {
		text := "[" + strings.Repeat("[1.5],", rows-1) + "[1.5]]"
		read(t, &c, text)
		return testing.AllocsPerRun(100, func() {
			r, err := p.Do(t.Context(), &c)
			if err != nil {
				t.Fatal(err)
			}
			var row predict.Row
			for r.Next(&row) {
			}
		})
	}
	if few, many := allocations(2), allocations(100); many > few+2 {
		t.Errorf("%v allocations for 2 rows, %v for 100", few, many)
	}
}
