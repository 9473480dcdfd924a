package rest

import (
	"context"
	"errors"
	"mime"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

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
	ctx := s.context(c, start)
	defer ctx.End()
	r := s.request(ctx, predict.Call{Start: start, Single: true, RoutingKey: string(peek(&c.Request().Header, routingKeyHeader))})
	defer s.end(r)
	if err := s.decode(ctx, r, body.b, single); err != nil {
		return s.fail(c, nil, err)
	}
	r.RequestID = s.requestID(c)
	result, err := s.pipeline.Do(ctx, &r.Call)
	if s.cfg.AuditPredictions {
		s.predicted(principalOf(c), s.caller(c), r, err)
	}
	if err != nil {
		return s.fail(c, r.Model(), ofOneRow(err))
	}
	encode := spanOf(c).Child("encode")
	c.Response().SwapBody(appendSingle(c.Response().SwapBody(nil)[:0], r, result))
	encode.End()
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	return nil
}

// predictBatch answers POST /api/v1/predict/batch.
func (s *Server) predictBatch(c *fiber.Ctx) error {
	body, err := s.rowsBody(c)
	if err != nil {
		return s.fail(c, nil, err)
	}
	defer s.buffers.put(body)
	start := s.cfg.Now()
	ctx := s.context(c, start)
	defer ctx.End()
	r := s.request(ctx, predict.Call{Start: start, RoutingKey: string(peek(&c.Request().Header, routingKeyHeader))})
	defer s.end(r)
	if err := s.decode(ctx, r, body.b, batch); err != nil {
		return s.fail(c, nil, err)
	}
	account, size := accountOf(c), r.Rows().Total()*answerRow
	if r.Explanation {
		size += r.Rows().Total() * len(r.Model().Schema().Features()) * answerContribution
	}
	if err := s.charge(account, int64(size)); err != nil {
		s.pipeline.Lose(&r.Call, batching.ErrOverloaded)
		return s.fail(c, r.Model(), err)
	}
	r.RequestID = s.requestID(c)
	result, err := s.pipeline.Do(ctx, &r.Call)
	if s.cfg.AuditPredictions {
		s.predicted(principalOf(c), s.caller(c), r, err)
	}
	if err != nil {
		return s.fail(c, r.Model(), err)
	}
	encode := spanOf(c).Child("encode")
	account.lent = s.buffers.get(size)
	account.lent.b = appendBatch(account.lent.b, r, result)
	encode.End()
	c.Response().SetBodyRaw(account.lent.b)
	c.Response().Header.SetContentType(fiber.MIMEApplicationJSON)
	return nil
}

// decode is read within the spans of a traced request.
func (s *Server) decode(ctx context.Context, r *request, body []byte, k kind) error {
	span := until.SpanOf(ctx)
	decode := span.Child("decode")
	err := s.read(ctx, r, body, k)
	decode.End()
	describeCall(span, &r.Call)
	return err
}

// ofOneRow returns the error of a single row without its number.
func ofOneRow(err error) error {
	var failed *sdk.RowErrors
	if !errors.As(err, &failed) || len(failed.Rows) == 0 {
		return err
	}
	p := rowProblem(failed.Rows[0])
	p.Detail = strings.TrimPrefix(p.Detail, "row 0: ")
	return p
}

// full returns why no batch is accepted now, or nil.
func (s *Server) full() error {
	if s.cfg.Full == nil {
		return nil
	}
	return s.cfg.Full()
}

// rowsBody reads a body of several rows, unless no batch is accepted now.
func (s *Server) rowsBody(c *fiber.Ctx) (*buffer, error) {
	if err := checkBody(c); err != nil {
		return nil, err
	}
	if err := s.full(); err != nil {
		return nil, err
	}
	return s.body(c)
}

// callerOf returns the caller that waits on a request's connection, or nil if it is
// not known.
func callerOf(c *fiber.Ctx) until.Caller {
	if own := connOf(c.Context().Conn()); own != nil {
		return own
	}
	return nil
}

// checkBody refuses bodies that are not JSON, in one of the codings that are accepted.
func checkBody(c *fiber.Ctx) error {
	h := &c.Request().Header
	if enc := h.ContentEncoding(); len(enc) > 0 {
		if _, ok := parseCoding(enc); !ok {
			c.Set(fiber.HeaderAcceptEncoding, acceptedCodings)
			return api.NewProblem(api.UnsupportedMediaType, "Content-Encoding", "%s is not accepted: send gzip or zstd, or the body as it is", clip(string(enc)))
		}
	}
	if !isJSON(h.ContentType()) {
		return api.NewProblem(api.UnsupportedMediaType, "Content-Type", "is %q: send application/json", clip(string(h.ContentType())))
	}
	return nil
}

// isJSON reports whether the type is application/json or application/*+json, with or
// without parameters.
func isJSON(contentType []byte) bool {
	if string(contentType) == fiber.MIMEApplicationJSON {
		return true
	}
	media, _, err := mime.ParseMediaType(string(contentType))
	return err == nil && (media == fiber.MIMEApplicationJSON ||
		(strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json")))
}
