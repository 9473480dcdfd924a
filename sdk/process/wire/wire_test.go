package wire_test

import (
	"errors"
	"io"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"bytes"

	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/pluginv1"
	"github.com/pynomaly/pynomaly-runtime/sdk/process/wire"
)

var (
	xy    = []sdk.Feature{{Name: "x", DType: sdk.Float64}, {Name: "y", DType: sdk.Float64}}
	f32   = []sdk.Feature{{Name: "x", DType: sdk.Float32}}
	i64   = []sdk.Feature{{Name: "x", DType: sdk.Int64}, {Name: "y", DType: sdk.Int64}, {Name: "z", DType: sdk.Int64}}
	mixed = []sdk.Feature{{Name: "s", DType: sdk.String}, {Name: "b", DType: sdk.Bool}, {Name: "i", DType: sdk.Int64}, {Name: "f", DType: sdk.Float32}, {Name: "d", DType: sdk.Float64}}
)

func send(t testing.TB, in *sdk.Batch) []*pluginv1.ScoreChunk {
	t.Helper()
	var out []*pluginv1.ScoreChunk
	if err := wire.Send(in, func(c *pluginv1.ScoreChunk) error {
		out = append(out, proto.Clone(c).(*pluginv1.ScoreChunk))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

func receive(features []sdk.Feature, recv func() (*pluginv1.ScoreChunk, error)) (*sdk.Batch, error) {
	out := sdk.NewBatch(features)
	out.Resize(5) // as if it had been used before
	return out, wire.Receive(out, recv)
}

func from(chunks []*pluginv1.ScoreChunk) func() (*pluginv1.ScoreChunk, error) {
	return func() (*pluginv1.ScoreChunk, error) {
		if len(chunks) == 0 {
			return nil, io.EOF
		}
		c := chunks[0]
		chunks = chunks[1:]
		return c, nil
	}
}

// value returns a different value for each cell.
func value(d sdk.DType, i, j int) any {
	n := 100*i + j
	switch d {
	case sdk.Float32:
		return float32(n) / 2
	case sdk.Float64:
		return float64(n) / 3
	case sdk.Int64:
		return int64(n) << 30
	case sdk.Bool:
		return n%3 == 0
	default:
		return string(rune('a' + n%26))
	}
}

func TestThereAndBack(t *testing.T) {
	for _, features := range [][]sdk.Feature{xy, f32, i64, mixed} {
		for _, rows := range []int{0, 1, 7, 100_000} {
			in := sdk.NewBatch(features)
			in.Resize(rows)
			for i := range rows {
				for j, f := range features {
					if err := in.SetValue(i, j, value(f.DType, i, j)); err != nil {
						t.Fatal(err)
					}
				}
			}
			chunks := send(t, in)
			for _, c := range chunks[1:] {
				if len(c.GetData()) > wire.MaxData {
					t.Errorf("a chunk of %d bytes", len(c.GetData()))
				}
			}
			got, err := receive(features, from(chunks))
			if err != nil || got.Rows() != rows {
				t.Fatalf("%d rows of %v: %v", rows, features, err)
			}
			for i := range rows {
				for j := range features {
					if got.Value(i, j) != in.Value(i, j) {
						t.Fatalf("row %d, feature %d is %v, was %v", i, j, got.Value(i, j), in.Value(i, j))
					}
				}
			}
		}
	}
}

// TestOddChunks cuts the data at odd places.
func TestOddChunks(t *testing.T) {
	data := wire.AppendFloat64s(nil, []float64{1, 2, 3, 4})
	chunks := []*pluginv1.ScoreChunk{{Rows: 2, Matrix: &pluginv1.Matrix{Cols: 2, Dtype: pluginv1.ValueType_VALUE_TYPE_FLOAT64}}}
	for len(data) > 0 {
		n := min(5, len(data))
		chunks = append(chunks, &pluginv1.ScoreChunk{Data: data[:n]})
		data = data[n:]
	}
	got, err := receive(xy, from(chunks))
	if err != nil || got.Float64s()[3] != 4 || got.Float64s()[0] != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestMissing(t *testing.T) {
	in := sdk.NewBatch(mixed)
	in.Resize(2)
	chunks := send(t, in)
	for _, c := range chunks[0].Columns {
		c.Nulls = []byte{2}
	}
	got, err := receive(mixed, from(chunks))
	if err != nil || !math.IsNaN(got.Column(4).Float64s[1]) || got.Column(4).Float64s[0] != 0 || !math.IsNaN(float64(got.Column(3).Float32s[1])) {
		t.Errorf("%v", err)
	}
}

func TestMalformed(t *testing.T) {
	matrix := func(rows, cols uint32, dtype pluginv1.ValueType, data ...int) []*pluginv1.ScoreChunk {
		out := []*pluginv1.ScoreChunk{{Rows: rows, Matrix: &pluginv1.Matrix{Cols: cols, Dtype: dtype}}}
		for _, n := range data {
			out = append(out, &pluginv1.ScoreChunk{Data: make([]byte, n)})
		}
		return out
	}
	const f64 = pluginv1.ValueType_VALUE_TYPE_FLOAT64
	columns := func(change func([]*pluginv1.Column)) []*pluginv1.ScoreChunk {
		in := sdk.NewBatch(mixed)
		in.Resize(2)
		out := send(t, in)
		change(out[0].Columns)
		return out
	}
	for name, c := range map[string]struct {
		features []sdk.Feature
		chunks   []*pluginv1.ScoreChunk
	}{
		"nothing":            {xy, nil},
		"no data":            {xy, matrix(1, 2, f64)},
		"too little":         {xy, matrix(1, 2, f64, 15)},
		"too much":           {xy, matrix(1, 2, f64, 16, 1)},
		"other width":        {xy, matrix(1, 3, f64, 24)},
		"other type":         {xy, matrix(1, 2, pluginv1.ValueType_VALUE_TYPE_INT64, 16)},
		"too many rows":      {xy, matrix(1<<30, 2, f64)},
		"a large chunk":      {xy, matrix(1<<20, 2, f64, wire.MaxData+8)},
		"a matrix of mixed":  {mixed, matrix(1, 5, f64, 40)},
		"columns for matrix": {xy, columns(func([]*pluginv1.Column) {})},
		"more than columns":  {mixed, append(columns(func([]*pluginv1.Column) {}), &pluginv1.ScoreChunk{})},
		"a short column":     {mixed, columns(func(c []*pluginv1.Column) { c[2].Values = c[2].Values[:8] })},
		"a string too many":  {mixed, columns(func(c []*pluginv1.Column) { c[0].Strings = []string{"a", "b", "c"} })},
		"another type":       {mixed, columns(func(c []*pluginv1.Column) { c[4].Dtype = pluginv1.ValueType_VALUE_TYPE_INT64 })},
		"a long bitmap":      {mixed, columns(func(c []*pluginv1.Column) { c[4].Nulls = []byte{1, 1} })},
	} {
		if _, err := receive(c.features, from(c.chunks)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	broken := errors.New("broken")
	if _, err := receive(xy, func() (*pluginv1.ScoreChunk, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestRowErrors(t *testing.T) {
	in := &sdk.RowErrors{Rows: []sdk.RowError{{Row: 1, Field: "x", Reason: "is missing"}, {Row: 4, Reason: "?"}}}
	got, err := wire.RowErrors(wire.Failed(in), 5)
	if err != nil || len(got.Rows) != 2 || got.Rows[0] != in.Rows[0] || got.Rows[1] != in.Rows[1] {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := wire.RowErrors(nil, 5); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range [][]*pluginv1.RowError{{{Row: 5}}, {{Row: 2}, {Row: 2}}, {{Row: 3}, {Row: 1}}} {
		if _, err := wire.RowErrors(bad, 5); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// FuzzReceive checks that Receive refuses the chunks or returns a batch of the
// features.
func FuzzReceive(f *testing.F) {
	for _, features := range [][]sdk.Feature{xy, mixed} {
		in := sdk.NewBatch(features)
		in.Resize(3)
		var buf bytes.Buffer
		for _, c := range send(f, in) {
			if _, err := protodelim.MarshalTo(&buf, c); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(buf.Bytes(), len(features) == 5)
	}
	f.Fuzz(func(t *testing.T, data []byte, columns bool) {
		features := xy
		if columns {
			features = mixed
		}
		r := bytes.NewReader(data)
		got, err := receive(features, func() (*pluginv1.ScoreChunk, error) {
			c := &pluginv1.ScoreChunk{}
			return c, protodelim.UnmarshalFrom(r, c)
		})
		if err != nil {
			return
		}
		for i := range got.Rows() {
			for j := range features {
				got.Value(i, j)
			}
		}
	})
}
