package model

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// probe holds the rows that a model must score before it serves.
type probe struct {
	rows   *sdk.Batch
	golden []float64 // expected oriented scores; nil: the rows are generated
	real   int       // how many of the first rows come from the manifest
}

const maxGoldenRows = 10000

// newProbe takes the golden rows, or else the reference row and variations of it, or
// else generated rows.
func newProbe(m *Model, c *catalog.Contents) (*probe, error) {
	if g := m.Manifest.Golden; g != nil {
		p, err := readGolden(m, c.Files[g.Rows])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", g.Rows, err)
		}
		return p, nil
	}
	p := &probe{rows: sdk.NewBatch(m.schema.Features())}
	const made = 3
	rng := rand.New(rand.NewPCG(1, 0))
	p.rows.Resize(1 + made)
	for i := range 1 + made {
		for j, f := range m.schema.Features() {
			var v any
			normal := rng.NormFloat64()
			switch {
			case m.reference != nil:
				v = vary(m.reference.Value(0, j), normal, i > 0)
			default:
				v = invent(f.DType, normal, i > 0)
			}
			if err := p.rows.SetValue(i, j, v); err != nil {
				return nil, err
			}
		}
	}
	if m.reference != nil {
		p.real = 1
	}
	return p, nil
}

// ProbeRows returns the rows that a model must score before it serves.
func ProbeRows(c *catalog.Contents) (*sdk.Batch, error) {
	m := &Model{Manifest: c.Manifest, Digest: c.Digest, schema: rows.NewSchema(c.Manifest)}
	if err := m.prepare(c); err != nil {
		return nil, err
	}
	p, err := newProbe(m, c)
	if err != nil {
		return nil, err
	}
	return p.rows, nil
}

// vary changes a reference value by a tenth of itself times a normal number.
func vary(v any, normal float64, do bool) any {
	if !do {
		return v
	}
	switch x := v.(type) {
	case float32:
		return x * float32(1+normal/10)
	case float64:
		return x * (1 + normal/10)
	}
	return v
}

// invent generates a value of a type: a zero value or a normal number.
func invent(dtype sdk.DType, normal float64, do bool) any {
	if !do {
		normal = 0
	}
	switch dtype {
	case sdk.Float32:
		return float32(normal)
	case sdk.Float64:
		return normal
	case sdk.Int64:
		return int64(math.Round(normal))
	case sdk.Bool:
		return normal > 0
	default:
		return ""
	}
}

// readGolden reads lines of {"data": row, "score": oriented score}.
func readGolden(m *Model, data []byte) (*probe, error) {
	p := &probe{}
	d := m.schema.NewDecoder()
	number := 0
	for line := range bytes.SplitSeq(data, []byte("\n")) { // a list of all lines may take 24 times their bytes
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if len(p.golden) == maxGoldenRows {
			return nil, fmt.Errorf("has more than %d rows", maxGoldenRows)
		}
		score, err := goldenLine(&jsonscan.Scanner{Data: line}, d.JSONRow)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if failed := d.Failed(); len(failed) > 0 {
			return nil, fmt.Errorf("line %d: feature %q %s", number, failed[0].Field, failed[0].Reason)
		}
		p.golden = append(p.golden, score)
	}
	if len(p.golden) == 0 {
		return nil, fmt.Errorf("has no rows")
	}
	p.rows, p.real = d.Batch(), len(p.golden)
	return p, nil
}

func goldenLine(s *jsonscan.Scanner, row func(*jsonscan.Scanner) error) (float64, error) {
	if !s.Take('{') {
		return 0, s.Unexpected("an object")
	}
	var score float64
	var hasData, hasScore bool
	for first := true; ; first = false {
		more, err := s.More('}', first)
		if err != nil {
			return 0, err
		}
		if !more {
			break
		}
		key, err := s.String(nil)
		if err != nil {
			return 0, err
		}
		name := string(key)
		if err := s.Colon(); err != nil {
			return 0, err
		}
		switch {
		case name == "data" && !hasData:
			hasData = true
			err = row(s)
		case name == "score" && !hasScore:
			hasScore = true
			var n jsonscan.Number
			if n, err = s.Number(); err == nil {
				if score, _ = n.Float64(); !finite(score) {
					err = errors.New("the score is beyond the largest float64")
				}
			}
		default:
			return 0, fmt.Errorf("%q is given twice or is neither data nor score", name)
		}
		if err != nil {
			return 0, err
		}
	}
	if !hasData || !hasScore {
		return 0, fmt.Errorf("needs data and score")
	}
	return score, s.End()
}

// run scores the rows and returns what is wrong with the model.
func (p *probe) run(ctx context.Context, m *Model) error {
	n := p.rows.Rows()
	first, second := nans(n), nans(n)
	p.begin(m)
	least := m.Fill()
	for _, out := range [][]float64{first, second} {
		if err := m.score(ctx, p.rows, out); err != nil {
			return fmt.Errorf("the probe failed: %w%s", err, p.hint())
		}
		if m.Manifest.Stateful {
			return p.compare(m, first) // from here on scores may differ from call to call
		}
	}
	for i := range first {
		if math.Float64bits(first[i]) != math.Float64bits(second[i]) {
			return fmt.Errorf("row %d of the probe scored %v and then %v: a model whose scores change needs stateful: true", i, first[i], second[i])
		}
	}
	if err := p.settle(ctx, m, first); err != nil {
		return err
	}
	if m.Fill() != least {
		if err := m.score(ctx, p.rows, first); err != nil {
			return fmt.Errorf("the probe failed: %w%s", err, p.hint())
		}
	}
	if err := p.compare(m, first); err != nil {
		return err
	}
	return p.explain(ctx, m)
}

// explain asks a detector for the explanation of one row if the manifest says that
// it explains itself.
func (p *probe) explain(ctx context.Context, m *Model) error {
	if e := m.Manifest.Explanation; e == nil || e.Method != manifest.ExplainNative {
		return nil
	}
	_, err := m.Explain(ctx, p.rows.Slice(0, 1))
	var failed *sdk.RowErrors
	if errors.As(err, &failed) && p.real == 0 {
		return nil // the row was generated
	}
	if err != nil {
		return fmt.Errorf("explanation.method is native: %w", err)
	}
	return nil
}

// compare compares the scores with the expected ones.
func (p *probe) compare(m *Model, got []float64) error {
	odd := 0
	agree := newAgreement(m.Manifest, p.golden, m.calibration.training())
	for i, v := range got {
		if !finite(v) {
			if i < p.real {
				return fmt.Errorf("row %d of the probe, which the manifest gives, scored %v", i, v)
			}
			odd++
		}
		if p.golden != nil && !agree.agree(v, p.golden[i]) {
			return fmt.Errorf("golden row %d scored %v; the manifest expects %v within %.3g", i, v, p.golden[i], agree.allowed(p.golden[i]))
		}
	}
	if odd > 0 {
		m.Warnings = append(m.Warnings, fmt.Sprintf("%d of %d made-up rows scored NaN or infinity", odd, len(got)))
	}
	return nil
}

func (p *probe) hint() string {
	if p.real > 0 {
		return ""
	}
	return " (the rows were made up: give the manifest golden rows or explanation.reference)"
}

func nans(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	return out
}
