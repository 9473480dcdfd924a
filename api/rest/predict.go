package rest

import (
	"context"
	"errors"
	"mime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// scores are slices for one score a row, reused between requests.
type scores struct{ pool sync.Pool }

func (s *scores) get(n int) *[]float64 {
	p, _ := s.pool.Get().(*[]float64)
	if p == nil {
		p = new([]float64)
	}
	if cap(*p) < n {
		*p = make([]float64, n)
	}
	*p = (*p)[:n]
	return p
}

func (s *scores) put(p *[]float64) { s.pool.Put(p) }

// predict answers POST /api/v1/predict.
func (s *Server) predict(c *fiber.Ctx) error {
	if p := checkBody(c); p != nil {
		return s.fail(c, nil, p)
	}
	body, err := s.body(c)
	if err != nil {
		return s.fail(c, nil, err)
	}
	defer s.buffers.put(body)
	start := s.cfg.Now()
	ctx := until.New(start.Add(s.cfg.Timeout), callerOf(c))
	defer ctx.End()
	r := request{routingKey: string(c.Request().Header.Peek("X-Routing-Key"))}
	if err := s.read(ctx, &r, body.b, single); err != nil {
		return s.fail(c, nil, err)
	}
	m := r.lease.Model()
	buf := c.Response().SwapBody(nil)
	out, err := s.one(ctx, &r, start, s.requestID(c), buf[:0])
	if err != nil {
		c.Response().SwapBody(buf[:0])
		return s.fail(c, m, err)
	}
	c.Response().SwapBody(out)
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	return nil
}

// one scores a single row, appends the answer to buf and releases the request.
func (s *Server) one(ctx context.Context, r *request, start time.Time, requestID string, buf []byte) ([]byte, error) {
	m := r.lease.Model()
	late := false
	defer func() { r.release(late) }()
	if failed := r.rows.Failed(); len(failed) > 0 {
		p := rowProblem(failed[0])
		p.Detail = trimRow(p.Detail)
		return nil, p
	}
	row := r.rows.Batch()
	out := s.scores.get(1)
	var explained *runtime.Explanation
	var err error
	if r.explanation {
		explained, err = m.Explain(ctx, row)
		var failed *sdk.RowErrors
		if errors.As(err, &failed) {
			p := rowProblem(failed.Rows[0])
			p.Detail = trimRow(p.Detail)
			err = p
		}
		if err == nil {
			(*out)[0] = explained.Score
			m.Count(*out)
		}
	} else {
		var failed []sdk.RowError
		failed, err = m.Predict(ctx, row, 1, *out)
		if err == nil && len(failed) > 0 {
			p := rowProblem(failed[0])
			p.Detail = trimRow(p.Detail)
			err = p
		}
	}
	if late = errors.Is(err, runtime.ErrLate); err != nil {
		if !late {
			s.scores.put(out)
		}
		return nil, err
	}
	score := (*out)[0]
	s.scores.put(out)
	now := s.cfg.Now()
	a := answer{model: m, now: now, latency: now.Sub(start), confidence: r.confidence, requestID: requestID, id: r.id}
	buf = a.appendSingle(buf, score, explained)
	m.Stats.Answered(a.latency)
	s.sampleRow(r, m, now, score)
	s.cfg.Predictions.Log(&logs.Prediction{Time: now, ModelID: m.ID(), Version: m.Version(), RequestID: requestID, Latency: a.latency, Score: score})
	return buf, nil
}

// trimRow drops "row 0: ", which says nothing of a single row.
func trimRow(detail string) string {
	const prefix = "row 0: "
	if len(detail) > len(prefix) && detail[:len(prefix)] == prefix {
		return detail[len(prefix):]
	}
	return detail
}

// predictBatch answers POST /api/v1/predict/batch.
func (s *Server) predictBatch(c *fiber.Ctx) error {
	if p := checkBody(c); p != nil {
		return s.fail(c, nil, p)
	}
	if err := s.full(); err != nil {
		return s.fail(c, nil, err)
	}
	body, err := s.body(c)
	if err != nil {
		return s.fail(c, nil, err)
	}
	defer s.buffers.put(body)
	start := s.cfg.Now()
	ctx, cancel := context.WithDeadline(until.WithCaller(s.base, callerOf(c)), start.Add(s.cfg.Timeout))
	defer cancel()
	r := request{routingKey: string(c.Request().Header.Peek("X-Routing-Key"))}
	if err := s.read(ctx, &r, body.b, batch); err != nil {
		return s.fail(c, nil, err)
	}
	m := r.lease.Model()
	late := false
	defer func() { r.release(late) }()
	account, size := accountOf(c), r.rows.Total()*answerRow
	if err := s.charge(account, int64(size)); err != nil {
		return s.fail(c, m, err)
	}
	out := s.scores.get(r.rows.Batch().Rows())
	failed, err := m.Predict(ctx, r.rows.Batch(), r.batchSize, *out)
	if late = errors.Is(err, runtime.ErrLate); err != nil {
		return s.fail(c, m, err)
	}
	defer s.scores.put(out)
	id := s.requestID(c)
	now := s.cfg.Now()
	took := now.Sub(start)
	a := answer{model: m, now: now, latency: took, confidence: r.confidence}
	account.lent = s.buffers.get(size)
	b := account.lent.b
	b = append(b, `{"predictions":[`...)
	b, anomalies := a.appendRows(b, *out, failed, r.rows.Failed(), r.rows.Total())
	b = append(b, `],"total_processed":`...)
	b = strconv.AppendInt(b, int64(r.rows.Total()), 10)
	b = append(b, `,"total_anomalies":`...)
	b = strconv.AppendInt(b, int64(anomalies), 10)
	b = append(b, `,"total_failed":`...)
	b = strconv.AppendInt(b, int64(len(failed)+len(r.rows.Failed())), 10)
	b = append(b, `,"processing_time_ms":`...)
	b = appendMillis(b, took)
	b = append(b, `,"throughput_per_second":`...)
	b = strconv.AppendFloat(b, float64(r.rows.Total())/max(took.Seconds(), 1e-6), 'f', 1, 64)
	b = append(b, `,"request_id":`...)
	b = append(appendString(b, id), '}')
	account.lent.b = b
	c.Response().SetBodyRaw(b)
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	m.Stats.Answered(took)
	if len(failed) == 0 {
		s.sampleBatch(&r, m, now, *out)
	}
	s.cfg.Predictions.Log(&logs.Prediction{
		Time: now, ModelID: m.ID(), Version: m.Version(), RequestID: id, Latency: took,
		Rows: r.rows.Total(), Anomalies: anomalies, Failed: len(failed) + len(r.rows.Failed()),
	})
	return nil
}

// full says why no batch is taken now; nil: all are.
func (s *Server) full() error {
	if s.cfg.Full == nil {
		return nil
	}
	return s.cfg.Full()
}

// callerOf is whoever waits for the answer on a request's connection; nil: it is
// not known.
func callerOf(c *fiber.Ctx) until.Caller {
	if own := connOf(c.Context().Conn()); own != nil {
		return own
	}
	return nil
}

// checkBody refuses bodies that are not plain JSON.
func checkBody(c *fiber.Ctx) error {
	h := &c.Request().Header
	if enc := h.ContentEncoding(); len(enc) > 0 && string(enc) != "identity" {
		return api.NewProblem(api.UnsupportedMediaType, "Content-Encoding", "%s is not taken: send the body as it is", clip(string(enc)))
	}
	if !isJSON(h.ContentType()) {
		return api.NewProblem(api.UnsupportedMediaType, "Content-Type", "is %q: send application/json", clip(string(h.ContentType())))
	}
	return nil
}

// isJSON holds for application/json and application/*+json, with or without
// parameters.
func isJSON(contentType []byte) bool {
	if string(contentType) == fiber.MIMEApplicationJSON {
		return true
	}
	media, _, err := mime.ParseMediaType(string(contentType))
	return err == nil && (media == fiber.MIMEApplicationJSON ||
		(strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")))
}
