// Package predict is the pipeline that all rows take through a host: it finds and
// leases the model, lets the transport decode the rows, scores and judges them, and
// accounts for them.
//
// Transports receive requests and write responses.
package predict

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/explain"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Config says what a Pipeline does besides scoring.
type Config struct {
	Now          func() time.Time
	Log          *logs.Predictions // writes a line per request; nil: none
	Samples      int               // rows kept of each version, to compare others with it; 0: none
	SampleModels []string          // models whose rows are kept; empty: all
}

// Pipeline answers calls. It is safe for concurrent use.
type Pipeline struct {
	Samples *Samples

	now      func() time.Time
	log      *logs.Predictions
	registry *registry.Registry
	scores   sync.Pool // of *[]float64
	unknown  unknown
}

// New returns a Pipeline for the models of a registry. If registry is nil, calls
// bring their models.
func New(cfg Config, registry *registry.Registry) *Pipeline {
	return &Pipeline{
		Samples: &Samples{size: cfg.Samples, only: cfg.SampleModels, rings: map[string]*ring{}},
		now:     cfg.Now, log: cfg.Log, registry: registry,
	}
}

// Call is one request, used by one goroutine. Bind or Use sets its model, the caller
// decodes rows into Rows, Do scores them, and Release ends the call.
type Call struct {
	Viewer      registry.Viewer // says which models the caller may see; nil: all
	RoutingKey  string          // equal keys get the same version while the weights stay
	RequestID   string
	Start       time.Time // when the whole request had arrived
	Single      bool      // the call is for one row, whose failure is the call's
	Confidence  bool
	Explanation bool   // of each row
	Chunk       int    // most rows per call of the detector; 0: as many as the manifest allows
	Replay      bool   // the rows are neither counted nor kept
	Streamed    bool   // the call came over a connection that stays with this host
	Data        []byte // the rows as received, for samples: a JSON value, or nil

	pinned bool // the call names the very version that answers
	model  *model.Model
	lease  *registry.Lease // nil: Use set the model
	rows   *rows.Decoder
	scores *[]float64
	late   bool // the detector still uses rows and scores
	result Result
}

// Model returns the model that answers, or nil before Bind.
func (c *Call) Model() *model.Model { return c.model }

// Rows returns the decoder of the model's rows, or nil before Bind.
func (c *Call) Rows() *rows.Decoder { return c.rows }

// Bind finds and leases the model that a call names, and loads it if necessary.
// Empty names mean defaults. A model that the call's viewer may not see is not found
// and not loaded. Bind releases the call's former model.
func (p *Pipeline) Bind(ctx context.Context, c *Call, id, version string) error {
	p.Release(c)
	lease, err := p.registry.For(c.Viewer).Acquire(ctx, id, version, c.RoutingKey)
	if err != nil {
		if errors.Is(err, registry.ErrVersionNotFound) {
			if id, missing := p.registry.ID(id); missing == nil {
				p.unknown.add(id, version)
			}
		}
		return err //nolint:wrapcheck // the registry says which model, and what of it
	}
	c.lease, c.model, c.rows = lease, lease.Model(), lease.Model().Decoder()
	c.pinned = version != "" && version == c.model.Version()
	return nil
}

// Use gives a call a model that stays open until Release.
func (p *Pipeline) Use(c *Call, m *model.Model) {
	p.Release(c)
	c.model, c.rows = m, m.Decoder()
}

// Release returns what a call holds, and invalidates its result. It may be called
// more than once.
func (p *Pipeline) Release(c *Call) {
	if c.model == nil {
		return
	}
	if !c.late {
		c.model.Recycle(c.rows)
		if c.scores != nil {
			p.scores.Put(c.scores)
		}
	}
	if c.lease != nil {
		c.lease.Release()
	}
	c.model, c.lease, c.rows, c.scores, c.late, c.pinned, c.result = nil, nil, nil, nil, false, false, Result{}
}

// space returns room for one score per row.
func (p *Pipeline) space(c *Call, n int) []float64 {
	if c.scores == nil {
		if c.scores, _ = p.scores.Get().(*[]float64); c.scores == nil {
			c.scores = new([]float64)
		}
	}
	if cap(*c.scores) < n {
		*c.scores = make([]float64, n)
	}
	*c.scores = (*c.scores)[:n]
	return *c.scores
}

// Do scores the rows of a call and accounts for them. The result is valid until the
// next Do or Release. If the row of a single call fails, the error is an
// *sdk.RowErrors.
func (p *Pipeline) Do(ctx context.Context, c *Call) (*Result, error) {
	r := &c.result
	*r = Result{Model: c.model, Total: c.rows.Total(), confidence: c.Confidence, unread: c.rows.Failed()}
	if c.Single && len(r.unread) > 0 {
		p.count(c, r, model.Outcome{})
		return nil, &sdk.RowErrors{Rows: r.unread[:1]}
	}
	r.scores = p.space(c, c.rows.Batch().Rows())
	var outcome model.Outcome
	var err error
	switch {
	case c.Explanation && c.Single:
		r.Explanation, err = p.explain(ctx, c)
	case c.Explanation:
		outcome, err = p.explainAll(ctx, c)
	default:
		outcome, err = c.model.Do(ctx, c.rows.Batch(), c.Chunk, r.scores)
	}
	if c.late = errors.Is(err, batching.ErrLate); err != nil {
		p.Lose(c, err)
		return nil, err //nolint:wrapcheck // the model says what failed
	}
	r.failed = outcome.Failed
	r.Failed = len(r.unread) + len(r.failed)
	p.count(c, r, outcome)
	if c.Single && len(r.failed) > 0 {
		return nil, &sdk.RowErrors{Rows: r.failed[:1]}
	}
	r.Time = p.now()
	r.Latency = r.Time.Sub(c.Start)
	if !c.Replay {
		p.account(ctx, c, r)
	}
	return r, nil
}

// explain scores a single row with an explanation.
func (p *Pipeline) explain(ctx context.Context, c *Call) (*explain.Explanation, error) {
	e, err := c.model.Explain(ctx, c.rows.Batch())
	if err != nil {
		return nil, err //nolint:wrapcheck // the model says what failed
	}
	(*c.scores)[0] = e.Score
	return e, nil
}

// explainAll scores the rows of a call and explains each one that has a score. A row
// that cannot be explained fails, as it does alone.
func (p *Pipeline) explainAll(ctx context.Context, c *Call) (model.Outcome, error) {
	if err := c.model.Explains(); err != nil {
		return model.Outcome{}, err //nolint:wrapcheck // the model says what is missing
	}
	in := c.rows.Batch()
	outcome, err := c.model.Do(ctx, in, c.Chunk, c.result.scores)
	if err != nil {
		return outcome, err //nolint:wrapcheck // the model says what failed
	}
	c.result.explanations = make([]*explain.Explanation, in.Rows())
	var failed []sdk.RowError
	unscored := outcome.Failed
	for i := range in.Rows() {
		if len(unscored) > 0 && unscored[0].Row == i {
			failed, unscored = append(failed, unscored[0]), unscored[1:]
			continue
		}
		if err := batching.HasLeft(ctx); err != nil {
			return outcome, err //nolint:wrapcheck // it says why nobody waits
		}
		e, err := c.model.Explain(ctx, in.Slice(i, i+1))
		var bad *sdk.RowErrors
		switch {
		case errors.As(err, &bad) && len(bad.Rows) > 0:
			failed = append(failed, sdk.RowError{Row: i, Field: bad.Rows[0].Field, Reason: bad.Rows[0].Reason})
			c.result.scores[i] = math.NaN()
		case err != nil:
			return outcome, err //nolint:wrapcheck // the model says what failed
		default:
			c.result.explanations[i] = e
		}
	}
	outcome.Failed = failed
	return outcome, nil
}

// account records an answer: it keeps a row now and then, and logs it.
func (p *Pipeline) account(ctx context.Context, c *Call, r *Result) {
	span := until.SpanOf(ctx)
	r.Model.Stats.Answered(r.Latency)
	if c.pinned {
		r.Model.Stats.Pinned()
	}
	if c.Streamed {
		r.Model.Stats.Streamed()
	}
	if span.Recorded() {
		r.Model.Stats.Example(r.Latency, r.Time, span.TraceID())
	}
	line := logs.Prediction{Time: r.Time, ModelID: r.Model.ID(), Version: r.Model.Version(), RequestID: c.RequestID, Latency: r.Latency, Span: span}
	if c.Single {
		line.Score = r.scores[0]
		p.Samples.keepRow(c, r)
	} else {
		line.Rows, line.Anomalies, line.Failed = r.Total, r.Anomalies, r.Failed
		p.Samples.keepOne(c, r)
	}
	p.log.Log(&line)
}

// Learn makes a stateful model learn the rows of a call, in order. All rows must
// have been decoded without errors.
func (p *Pipeline) Learn(ctx context.Context, c *Call) error {
	if unread := c.rows.Failed(); len(unread) > 0 {
		return &sdk.RowErrors{Rows: unread}
	}
	err := c.model.Learn(ctx, c.rows.Batch())
	c.late = errors.Is(err, batching.ErrLate)
	return err //nolint:wrapcheck // the model says what failed
}
