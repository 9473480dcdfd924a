// Package remote scores the rows of tables through a running host, as package
// offline does with a model in this process: it reads rows by the same rules, and
// the answers are the same.
package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/client"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/internal/table"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/offline"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

const (
	maxRows     = 10000           // of a request, for any batch size
	maxExplains = 100             // rows of a request for explanations, each of which takes as long as many rows
	maxBytes    = 4 << 20         // of a request's rows
	patience    = 2 * time.Minute // total wait for a busy host
	answerMost  = 10 * time.Minute
)

// Model is one version of a model on a host. It implements offline.Scorer. Only one
// goroutine at a time may use it.
type Model struct {
	client      *client.Client
	id, version string
	schema      *rows.Schema
	warnings    []string
	rows        *rows.Decoder
	sent        []row          // rows of the next request
	body        []byte         // of these rows
	answers     []table.Answer // to the rows without errors
	explain     bool
	wait        func(context.Context, time.Duration) error
}

var _ offline.Explainer = (*Model)(nil)

// Open finds a version of a model on a host: an exact version, or one that an alias
// names. If version is empty or latest, it is the newest that answers. All rows go
// to that version.
func Open(ctx context.Context, c *client.Client, id, version string) (*Model, error) {
	v, err := find(ctx, c, id, version)
	if err != nil {
		return nil, err
	}
	if len(v.Features) == 0 { // it was never loaded
		if err := load(ctx, c, id, v.Version); err != nil {
			return nil, err
		}
		if v, err = c.Version(ctx, id, v.Version); err != nil {
			return nil, err //nolint:wrapcheck // the client says what was asked
		}
	}
	m := &Model{client: c, id: id, version: v.Version, warnings: v.Warnings, wait: wait}
	if m.schema, err = schemaOf(v); err != nil {
		return nil, fmt.Errorf("reading what the host says of %s@%s: %w", id, v.Version, err)
	}
	m.rows = m.schema.NewDecoder()
	return m, nil
}

// find returns the version that answers.
func find(ctx context.Context, c *client.Client, id, version string) (*api.ModelVersion, error) {
	m, err := c.Model(ctx, id)
	if err != nil {
		return nil, err //nolint:wrapcheck // the client says what was asked
	}
	if _, alias := m.Aliases[version]; version != "" && (version != "latest" || alias) {
		return c.Version(ctx, id, version) //nolint:wrapcheck // the client says what was asked
	}
	all := slices.DeleteFunc(slices.Clone(m.Versions), func(v api.ModelVersion) bool { return v.Status == "failed" || v.Status == "unloaded" })
	if len(all) == 0 {
		for _, v := range m.Versions {
			err = errors.Join(err, fmt.Errorf("%s@%s is %s: %s", id, v.Version, v.Status, v.Error))
		}
		return nil, fmt.Errorf("the host has no version of %s that answers: %w", id, err)
	}
	v := slices.MinFunc(all, func(a, b api.ModelVersion) int { return manifest.NewestFirst(a.Version, b.Version) })
	return &v, nil
}

// load makes the host load a version, by a request without rows.
func load(ctx context.Context, c *client.Client, id, version string) error {
	_, err := c.PredictBatch(ctx, &api.BatchRequest{ModelID: id, Version: version, Data: []any{}})
	var p *api.Problem
	if errors.As(err, &p) && p.ErrorType == api.ValidationError && p.Field == "data" {
		return nil // it is loaded: the error is about the missing rows
	}
	return err //nolint:wrapcheck // the client says what was asked
}

// Version returns the version that answers.
func (m *Model) Version() string { return m.version }

// Schema implements offline.Scorer.
func (m *Model) Schema() *rows.Schema { return m.schema }

// Warnings implements offline.Scorer.
func (m *Model) Warnings() []string { return m.warnings }

// Rows implements offline.Scorer.
func (m *Model) Rows() *rows.Decoder { return m.rows }

// Explain implements offline.Explainer.
func (m *Model) Explain() { m.explain = true }

// Score implements offline.Scorer.
func (m *Model) Score(ctx context.Context, batch int, each func(i int, a table.Answer) error) (failed int, err error) {
	good := m.rows.Batch()
	m.answers = slices.Grow(m.answers[:0], good.Rows())[:good.Rows()]
	clear(m.answers)
	most := min(batch, maxRows)
	if m.explain {
		most = min(batch, maxExplains)
	}
	for from := 0; from < good.Rows(); {
		next := m.encode(good, from, most)
		if err := m.send(ctx, m.sent, batch); err != nil {
			return 0, err
		}
		from = next
	}
	unread := m.rows.Failed()
	failed = len(unread)
	next := 0
	for i := range m.rows.Total() {
		if len(unread) > 0 && unread[0].Row == i {
			err = each(i, table.Answer{Error: offline.Reason(unread[0])})
			unread = unread[1:]
		} else {
			a := m.answers[next]
			if next++; a.Error != "" {
				failed++
			}
			err = each(i, a)
		}
		if err != nil {
			return 0, err
		}
	}
	return failed, nil
}

// row is a row to send.
type row struct {
	at   int // index among the rows without errors
	text json.RawMessage
}

// encode fills m.sent with the rows from index from on that fit into a request, and
// returns where the next request begins.
func (m *Model) encode(good *sdk.Batch, from, most int) (next int) {
	m.sent, m.body = m.sent[:0], m.body[:0]
	for ; from < good.Rows() && len(m.sent) < most && len(m.body) < maxBytes; from++ {
		begin := len(m.body)
		body, field := appendRow(m.body, good, from)
		if field != "" {
			m.answers[from].Error = offline.Reason(sdk.RowError{Field: field, Reason: "is not valid UTF-8, which a request cannot carry"})
			continue
		}
		m.body = body
		m.sent = append(m.sent, row{from, m.body[begin:len(m.body):len(m.body)]})
	}
	return from
}

// send has rows scored, and halves the request if it is too large for the host.
func (m *Model) send(ctx context.Context, sent []row, batch int) error {
	if len(sent) == 0 {
		return nil
	}
	r := api.BatchRequest{ModelID: m.id, Version: m.version, BatchSize: min(batch, maxRows), ReturnExplanation: m.explain, Data: make([]any, len(sent))}
	for i := range sent {
		r.Data[i] = sent[i].text
	}
	a, err := m.ask(ctx, &r)
	var p *api.Problem
	if half := len(sent) / 2; half > 0 && errors.As(err, &p) && p.ErrorType == api.PayloadTooLarge {
		if err := m.send(ctx, sent[:half], batch); err != nil {
			return err
		}
		return m.send(ctx, sent[half:], batch)
	}
	if err != nil {
		return err
	}
	for i := range sent {
		m.answers[sent[i].at] = answer(&a.Predictions[i], i)
	}
	return nil
}

// ask sends a request, and repeats it as long as the host asks to send it later.
func (m *Model) ask(ctx context.Context, r *api.BatchRequest) (*api.BatchResponse, error) {
	for waited := time.Duration(0); ; {
		limited, cancel := context.WithTimeout(ctx, answerMost)
		a, err := m.client.PredictBatch(limited, r)
		cancel()
		pause := later(err)
		if waited += pause; err == nil || pause == 0 || waited > patience {
			return a, err //nolint:wrapcheck // the client says what was asked
		}
		if err := m.wait(ctx, pause); err != nil {
			return nil, fmt.Errorf("waiting for the host to take more rows: %w", err)
		}
	}
}

// later returns when a refused request may be sent again; 0 means never.
func later(err error) time.Duration {
	var p *api.Problem
	if !errors.As(err, &p) {
		return 0
	}
	switch p.ErrorType {
	case api.Overloaded, api.RateLimited, api.ShuttingDown:
		return max(p.RetryAfter, time.Second)
	}
	return 0
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // the caller says what it waited for
	}
}

// answer converts the prediction of a request's i-th row.
func answer(p *api.Prediction, i int) table.Answer {
	if p.Error != nil {
		return table.Answer{Error: printable.Line(strings.TrimPrefix(p.Error.Detail, "row "+strconv.Itoa(i)+": "))}
	}
	a := table.Answer{Prediction: p.Prediction, Score: p.Score, Anomaly: p.IsAnomaly, Confidence: p.Confidence}
	if e := p.Explanation; e != nil {
		a.Explanation = &table.Explanation{Method: e.Method, BaseValue: e.BaseValue, Additive: e.Additive, Residual: e.Residual}
		for _, c := range e.Contributions {
			a.Explanation.Contributions = append(a.Explanation.Contributions, c.Contribution)
		}
	}
	return a
}
