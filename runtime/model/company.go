package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// A row's score must not depend on the rows that it shares a call with. Libraries take
// other ways for other numbers of rows, so that a score's last bits, or more, depend on
// that number, or on the row's place. settle finds the least that calls must be filled up
// with for every row to be scored the same, bit for bit.

const (
	companyRows = 6    // that a model is tried with
	imprecise   = 0.01 // share of the spread that the number of rows may change a score by
)

// trial tries a model with rows.
type trial struct {
	m      *Model
	rows   *sdk.Batch
	scores []float64 // of the rows, in one call
	among  int       // how many rows that call had
	real   bool      // the rows come from the model's author
	agree  agreement
	batch  *sdk.Batch // of a call
}

// change is the largest difference between a row's score alone and in company.
type change struct {
	fill         batching.Fill // with which it was found
	by           float64       // the difference; 0: none, bit for bit
	share        float64       // of what the model's scores are apart
	row, rows    int           // which row, in a call of how many
	alone, among float64       // its scores
}

// begin sets what the detector knows that its calls need.
func (p *probe) begin(m *Model) {
	if !m.Manifest.Stateful && !m.Manifest.BatchDependent {
		m.slots.SetFill(m.can.fill)
	}
}

// fills are the ways of filling up calls from the one that is needed at least on, the
// cheapest first.
func fills(least batching.Fill, most int) []batching.Fill {
	out := []batching.Fill{least}
	most = min(most, batching.MaxFill)
	if least.Each == 1 {
		for rows := 2 * least.Rows; rows <= most; rows *= 2 {
			out = append(out, batching.Fill{Rows: rows, Each: 1})
		}
	}
	for each := max(2*least.Each, least.Rows); each <= most; each *= 2 {
		out = append(out, batching.Fill{Rows: 1, Each: each})
	}
	return out
}

// settle finds how a model's calls are filled up, and refuses a model whose rows influence
// each other or whose scores are lost in rounding. It is given the scores of the probe's
// rows.
func (p *probe) settle(ctx context.Context, m *Model, first []float64) error {
	most := m.Manifest.Limits.MaxBatchRows
	if m.Manifest.Stateful || m.Manifest.BatchDependent || most == 1 {
		return nil
	}
	t, err := p.trial(ctx, m, first)
	if err != nil {
		return err
	}
	least := m.Fill()
	m.slots.SetFill(batching.Fill{})
	bare := change{fill: m.Fill()}
	alone, err := t.alone(ctx)
	if err != nil {
		return err
	}
	bare.noteAll(t.agree, alone, t.scores, 0, len(alone))
	best, found := bare, false
	for _, fill := range fills(least, most) {
		c := bare
		if bare.by == 0 || fill != bare.fill {
			if c, err = t.changeWith(ctx, fill, alone, fill == least); err != nil {
				return err
			}
		}
		if !found || c.by < best.by {
			best, found = c, true
		}
		if best.by == 0 {
			break
		}
	}
	if flat(alone) && best.fill == bare.fill && m.Manifest.Backend != manifest.BackendWASM {
		best.fill.Rows = 2 // these rows tell nothing, and most libraries treat a single row otherwise
	}
	m.slots.SetFill(best.fill)
	m.Difference = best.by
	return t.judge(ctx, bare, best)
}

// Try finds out anew, with rows that the model is made for, how calls must be filled up. No
// call may run meanwhile.
func (m *Model) Try(ctx context.Context, rows *sdk.Batch) error {
	p := &probe{rows: rows, real: rows.Rows()}
	m.Warnings = slices.Clone(m.Manifest.Warnings)
	p.begin(m)
	scores := nans(p.real)
	if err := m.score(ctx, rows, 0, scores); err != nil {
		return err
	}
	return p.settle(ctx, m, scores)
}

// trial makes a trial with rows of the probe, and with more that are made from them where
// nobody is harmed by rows that cannot be scored.
func (p *probe) trial(ctx context.Context, m *Model, first []float64) (*trial, error) {
	t := &trial{m: m, real: p.real > 0, batch: sdk.NewBatch(p.rows.Features())}
	t.agree = newAgreement(m.Manifest, p.golden, m.calibration.training(), first)
	have := min(p.rows.Rows(), companyRows)
	t.rows, t.scores, t.among = p.rows.Slice(0, have), first[:have], p.rows.Rows()
	if have == companyRows || (p.real > 0 && m.Manifest.Backend != manifest.BackendONNX) {
		return t, nil
	}
	more, err := p.more(have)
	if err != nil {
		return nil, err
	}
	scores := nans(companyRows)
	t.among = companyRows
	var failed *sdk.RowErrors
	switch err := m.score(ctx, more, 0, scores); {
	case err == nil:
		t.rows, t.scores = more, scores
	case ctx.Err() != nil:
		return nil, fmt.Errorf("the probe failed: %w%s", err, p.hint())
	case errors.As(err, &failed) && failed.Rows[0].Row >= have: // the rows before that one
		t.rows, t.scores = more.Slice(0, failed.Rows[0].Row), scores[:failed.Rows[0].Row]
	}
	return t, nil
}

// more are rows of the probe and others that are made from them.
func (p *probe) more(have int) (*sdk.Batch, error) {
	rng := rand.New(rand.NewPCG(2, 0))
	more := sdk.NewBatch(p.rows.Features())
	more.Resize(companyRows)
	for i := range companyRows {
		more.CopyRow(i, p.rows, i%have)
		for j, f := range p.rows.Features() {
			if i < have {
				continue
			}
			v := vary(p.rows.Value(i%have, j), rng.NormFloat64(), true)
			if p.real == 0 {
				v = invent(f.DType, rng.NormFloat64()*math.Pow10(i%4), true)
			}
			if err := more.SetValue(i, j, v); err != nil {
				return nil, err
			}
		}
	}
	return more, nil
}

// alone scores each row in a call of its own.
func (t *trial) alone(ctx context.Context) ([]float64, error) {
	alone := nans(t.rows.Rows())
	for i := range alone {
		if err := t.score(ctx, t.rows.Slice(i, i+1), alone[i:i+1]); err != nil {
			return nil, err
		}
	}
	return alone, nil
}

// changeWith compares rows alone, whose scores without a fill are given, with rows in
// calls of several sizes. The trial has the scores of its rows in one call with this fill,
// or else with another.
func (t *trial) changeWith(ctx context.Context, fill batching.Fill, alone []float64, this bool) (change, error) {
	t.m.slots.SetFill(fill)
	if fill != (batching.Fill{Rows: 1, Each: 1}) {
		var err error
		if alone, err = t.alone(ctx); err != nil {
			return change{}, err
		}
	}
	n := len(alone)
	c := change{fill: fill}
	sizes := []int{2, 3, 5, 8, 13}
	if this {
		c.noteAll(t.agree, alone, t.scores, 0, n)
		if sizes = sizes[:3]; t.among < companyRows+2 {
			sizes = append(sizes, 13)
		}
	}
	at, before := 0, 1 // the first row of a call, so that each stands in several places
	for _, size := range sizes {
		size = (size + fill.Rows - 1) / fill.Rows * fill.Rows
		if size == before || size > t.m.Manifest.Limits.MaxBatchRows {
			continue
		}
		before = size
		t.batch.Resize(size)
		for i := range size {
			t.batch.CopyRow(i, t.rows, (at+i)%n)
		}
		among := nans(size)
		if err := t.score(ctx, t.batch, among); err != nil {
			return change{}, err
		}
		c.noteAll(t.agree, alone, among, at, size)
		at += size
	}
	return c, nil
}

// score scores rows of which each has had a score.
func (t *trial) score(ctx context.Context, rows *sdk.Batch, out []float64) error {
	if err := t.m.score(ctx, rows, 0, out); err != nil {
		return fmt.Errorf("the probe failed on %d rows of a call: %w", rows.Rows(), err)
	}
	return nil
}

// noteAll takes in the differences between rows alone and in a call that begins with one
// of them.
func (c *change) noteAll(a agreement, alone, among []float64, first, rows int) {
	for i, v := range among {
		row := (first + i) % len(alone)
		c.note(a, row, rows, alone[row], v)
	}
}

// note takes a difference in.
func (c *change) note(a agreement, row, rows int, alone, among float64) {
	if same(alone, among) {
		return
	}
	by, share := math.Inf(1), math.Inf(1)
	if finite(alone) && finite(among) {
		by = math.Abs(alone - among)
		share = by / max(a.scale(alone), math.SmallestNonzeroFloat64)
	}
	if share > c.share || c.by == 0 {
		c.share, c.row, c.rows, c.alone, c.among = share, row, rows, alone, among
	}
	c.by = max(c.by, by, math.SmallestNonzeroFloat64) // -0 is not 0
}

// same reports whether two scores are the same bit for bit, or both NaN.
func same(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || (math.IsNaN(a) && math.IsNaN(b))
}

// flat reports whether all scores are the same.
func flat(scores []float64) bool {
	return !slices.ContainsFunc(scores, func(v float64) bool { return !same(v, scores[0]) })
}

// judge says what the changes of scores without a fill, and with the best one, mean.
// What rounding does to rows that were made up says little of others.
func (t *trial) judge(ctx context.Context, bare, best change) error {
	m := t.m
	apart := best.by > 0 && !t.agree.agree(best.among, best.alone)
	if apart {
		coupled, err := t.coupled(ctx)
		if err != nil {
			return err
		}
		if coupled {
			return fmt.Errorf("row %d of the probe scored %v among %d rows but %v alone: a model whose scores depend on the other rows needs batch_dependent: true",
				best.row, best.among, best.rows, best.alone)
		}
		if t.real {
			return t.imprecise(best)
		}
	}
	if t.real && bare.share > max(imprecise, t.agree.tolerance) {
		return t.imprecise(bare)
	}
	switch {
	case apart:
		m.Warnings = append(m.Warnings, t.loss(best)+": no size of calls makes a row's score the same")
	case best.by > 0:
		m.Warnings = append(m.Warnings, fmt.Sprintf("a row's score may differ by %.3g with the rows that it is scored with: no size of calls makes it the same", best.by))
	case bare.by > 0 && !t.agree.agree(bare.among, bare.alone):
		m.Warnings = append(m.Warnings, t.loss(bare)+"; calls are filled up, so that a row's score is always the same")
	}
	return nil
}

// loss says how imprecise a model is.
func (t *trial) loss(c change) string {
	what := "imprecise: rounding"
	if t.agree.rounding > 0x1p-50 {
		what = "imprecise: float32"
	}
	return fmt.Sprintf("%s loses %.3g of a score, where scores span %.3g (row %d of the probe scores %v alone and %v in a call of %d rows, whichever the others are)",
		what, c.by, t.agree.scale(c.alone), c.row, c.alone, c.among, c.rows)
}

func (t *trial) imprecise(c change) error {
	return fmt.Errorf("%s: export the graph in float64, or scale the features", t.loss(c))
}

// coupled reports whether rows influence each other: whether a row's score changes with
// the rows beside it, their number and its place being the same.
func (t *trial) coupled(ctx context.Context) (bool, error) {
	const rows = 6 // of more rows one would hardly say otherwise
	n := min(t.rows.Rows(), rows)
	size := min(batching.MaxFill, t.m.Manifest.Limits.MaxBatchRows)
	for i := range n {
		var before []float64
		for other := range n {
			t.batch.Resize(size)
			t.batch.CopyRow(0, t.rows, i)
			for k := 1; k < size; k++ {
				t.batch.CopyRow(k, t.rows, other)
			}
			out := nans(size)
			if err := t.score(ctx, t.batch, out); err != nil {
				return false, err
			}
			if before != nil && !t.agree.agree(out[0], before[0]) {
				return true, nil
			}
			before = out
		}
	}
	return false, nil
}
