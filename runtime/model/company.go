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

// A row's score must not depend on the rows in the same call. Libraries compute some
// numbers of rows in other ways, so that the last bits of a score, or more, depend
// on the number of rows or on the row's position. settle finds the smallest fill
// with which every row is scored the same, bit for bit.

const (
	companyRows = 6    // rows with which a model is tried
	imprecise   = 0.01 // the share of the spread by which the number of rows may change a score
)

// trial tries a model with rows.
type trial struct {
	m      *Model
	rows   *sdk.Batch
	scores []float64 // of the rows, in one call
	among  int       // how many rows that call had
	real   bool      // the model's author provided the rows
	agree  agreement
	batch  *sdk.Batch // the batch of a call
}

// change is the largest difference between a row's score alone and with other rows.
type change struct {
	fill         batching.Fill // used to find it
	by           float64       // the difference; 0: equal bit for bit
	share        float64       // relative to the spread of the model's scores
	row, rows    int           // index of the row, and number of rows in the call
	alone, among float64       // its scores
}

// begin sets the fill that the detector knows it needs.
func (p *probe) begin(m *Model) {
	if !m.Manifest.Stateful && !m.Manifest.BatchDependent {
		m.slots.SetFill(m.can.fill)
	}
}

// fills returns the possible fills that include the smallest one, the cheapest
// first.
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

// settle finds the fill of a model's calls. It refuses a model whose rows influence
// each other or whose scores are lost in rounding. first are the scores of the
// probe's rows.
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
	if flat(alone) && best.fill == bare.fill && m.Manifest.Backend != manifest.BackendWASM && !m.can.engine.Own() {
		best.fill.Rows = 2 // these rows show nothing, but most libraries treat a single row specially
	}
	m.slots.SetFill(best.fill)
	m.Difference = best.by
	return t.judge(ctx, bare, best)
}

// Try determines the fill again, with rows that suit the model. No call may run
// meanwhile.
func (m *Model) Try(ctx context.Context, rows *sdk.Batch) error {
	p := &probe{rows: rows, real: rows.Rows()}
	m.Warnings = slices.Clone(m.Manifest.Warnings)
	p.begin(m)
	scores := nans(p.real)
	if err := m.score(ctx, rows, scores); err != nil {
		return err
	}
	return p.settle(ctx, m, scores)
}

// trial makes a trial with rows of the probe. It adds rows derived from them, unless
// rows that cannot be scored would do harm.
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
	switch err := m.score(ctx, more, scores); {
	case err == nil:
		t.rows, t.scores = more, scores
	case ctx.Err() != nil:
		return nil, fmt.Errorf("the probe failed: %w%s", err, p.hint())
	case errors.As(err, &failed) && failed.Rows[0].Row >= have: // use only the rows before that one
		t.rows, t.scores = more.Slice(0, failed.Rows[0].Row), scores[:failed.Rows[0].Row]
	}
	return t, nil
}

// more returns rows of the probe and others derived from them.
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

// alone scores each row in a separate call.
func (t *trial) alone(ctx context.Context) ([]float64, error) {
	alone := nans(t.rows.Rows())
	for i := range alone {
		if err := t.score(ctx, t.rows.Slice(i, i+1), alone[i:i+1]); err != nil {
			return nil, err
		}
	}
	return alone, nil
}

// changeWith compares rows alone, whose scores without a fill are given, with rows
// in calls of several sizes. this says that the trial's scores of its rows in one
// call were computed with this fill.
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
	at, before := 0, 1 // the first row of a call, so that each occurs in several positions
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

// score scores rows, each of which has been scored before.
func (t *trial) score(ctx context.Context, rows *sdk.Batch, out []float64) error {
	if err := t.m.score(ctx, rows, out); err != nil {
		return fmt.Errorf("the probe failed on %d rows of a call: %w", rows.Rows(), err)
	}
	return nil
}

// noteAll records the differences between rows alone and in a call that begins with
// the row first.
func (c *change) noteAll(a agreement, alone, among []float64, first, rows int) {
	for i, v := range among {
		row := (first + i) % len(alone)
		c.note(a, row, rows, alone[row], v)
	}
}

// note records a difference.
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

// same reports whether two scores are equal bit for bit, or both NaN.
func same(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || (math.IsNaN(a) && math.IsNaN(b))
}

// flat reports whether all scores are equal.
func flat(scores []float64) bool {
	return !slices.ContainsFunc(scores, func(v float64) bool { return !same(v, scores[0]) })
}

// judge decides what the changes of scores without a fill and with the best one
// mean. Rounding of generated rows says little about other rows.
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
		m.Warnings = append(m.Warnings, fmt.Sprintf("a row's score may differ by %.3g with the other rows of its call: no size of calls makes it the same", best.by))
	case bare.by > 0 && !t.agree.agree(bare.among, bare.alone):
		m.Warnings = append(m.Warnings, t.loss(bare)+"; calls are filled up, so that a row's score is always the same")
	}
	return nil
}

// loss describes how imprecise a model is.
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

// coupled reports whether rows influence each other: whether a row's score changes
// with the other rows while their number and its position stay the same.
func (t *trial) coupled(ctx context.Context) (bool, error) {
	const rows = 6 // with more rows the effect of one would hardly be visible
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
