package rest

import (
	"context"
	"crypto/subtle"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
)

// keeping returns an error if the host keeps no samples.
func (s *Server) keeping() error {
	if s.cfg.Samples == 0 {
		return api.NewProblem(api.NotFound, "", "this host keeps no samples: set server.samples.size")
	}
	return nil
}

// sampling reports whether a request for samples shows the configured token. The
// error says why nobody gets any samples.
func (s *Server) sampling(c *fiber.Ctx) (known bool, err error) {
	if s.cfg.Samples == 0 { // which only those are told who would get them
		return false, nil
	}
	want := s.cfg.SamplesTokenSHA256
	if s.cfg.SamplesToken != "" {
		want = digest.Hex([]byte(s.cfg.SamplesToken))
	}
	if want == "" {
		return false, nil
	}
	given, ok := strings.CutPrefix(c.Get(fiber.HeaderAuthorization), "Bearer ")
	if ok && subtle.ConstantTimeCompare([]byte(want), []byte(digest.Hex([]byte(given)))) == 1 {
		return true, nil
	}
	if s.cfg.Gate.Asks() {
		return false, nil
	}
	return false, api.NewProblem(api.Unauthorized, "Authorization", "samples require the bearer token set in server.samples.token")
}

// getSamples answers GET /api/v1/models/{id}/samples.
func (s *Server) getSamples(c *fiber.Ctx) error {
	if err := s.keeping(); err != nil {
		return s.fail(c, nil, err)
	}
	return s.onModel(c, func(id, version string) (any, error) {
		m, err := s.models(c).Peek(id, version)
		if err != nil {
			return nil, err //nolint:wrapcheck // it becomes a problem
		}
		after, err := queryNumber(c, "after", 0)
		if err != nil {
			return nil, err
		}
		limit, err := queryNumber(c, "limit", maxBatchSize)
		if err != nil {
			return nil, err
		}
		samples := s.pipeline.Samples
		why := predict.NotKept(m.Manifest)
		if why == "" && !samples.Names(id) {
			why = "server.samples.models does not name it"
		}
		kept, total, next := samples.Of(id, m.Version(), after, int(min(limit, maxBatchSize)))
		rows := make([]api.Sample, len(kept))
		for i, row := range kept {
			rows[i] = api.Sample{Data: row.Data, Score: row.Score}
		}
		return api.Samples{
			ModelID: id, Version: m.Version(), ProcessStartTime: s.started.UTC(), Threshold: m.Manifest.Threshold, Total: total, Next: next, Rows: rows, NotKept: why,
		}, nil
	})
}

// queryNumber parses a whole number in the query. It returns other if name is
// absent.
func queryNumber(c *fiber.Ctx, name string, other uint64) (uint64, error) {
	text := c.Context().QueryArgs().Peek(name)
	if text == nil {
		return other, nil
	}
	n, err := strconv.ParseUint(string(text), 10, 63)
	if err != nil {
		return 0, api.NewProblem(api.ValidationError, name, "must be a whole number, 0 or more")
	}
	return n, nil
}

// replay answers POST /api/v1/models/{id}/samples: it scores rows without counting
// them.
func (s *Server) replay(c *fiber.Ctx) error {
	if err := s.keeping(); err != nil {
		return s.fail(c, nil, err)
	}
	return s.onRows(c, false, func(ctx context.Context, r *request) (any, error) {
		m := r.Model()
		if why := predict.NotKept(m.Manifest); why != "" {
			return nil, api.NewProblem(api.NotReplayed, "", "%s does not accept replayed rows: %s", m.ID(), why)
		}
		r.Replay, r.Chunk = true, defaultBatchSize
		result, err := s.pipeline.Do(ctx, &r.Call)
		if err != nil {
			return nil, err //nolint:wrapcheck // it becomes a problem
		}
		a := api.Replayed{ModelID: m.ID(), Version: m.Version(), Threshold: m.Manifest.Threshold, Scores: make([]*float64, result.Total)}
		var row predict.Row
		for i := 0; result.Next(&row); i++ {
			if row.Failed == nil {
				score := row.Score
				a.Scores[i] = &score
			}
		}
		return a, nil
	})
}
