package rest

import (
	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/runtime/stats"
)

// getStats answers GET /api/v1/models/{id}/stats. Without a version it sums up all
// versions that have been loaded.
func (s *Server) getStats(c *fiber.Ctx) error {
	return s.onModel(c, func(id, version string) (any, error) {
		models, err := counted(s.models(c), id, version)
		if err != nil {
			return nil, err
		}
		fine, err := queryBool(c, "sketch")
		if err != nil {
			return nil, err
		}
		var sum stats.Snapshot
		var sketch stats.Sketch
		versions := make([]string, len(models))
		for i, m := range models {
			versions[i] = m.Version()
			if one := m.Stats.Snapshot(); i == 0 {
				sum = one
			} else {
				sum = sum.Plus(&one)
			}
			if fine {
				sketch = sketch.Plus(m.Stats.Sketch())
			}
		}
		out := figures(&sum)
		out.ModelID, out.Versions, out.ProcessStartTime = id, versions, s.started.UTC()
		if out.UnknownVersions = s.pipeline.Unknown(id); out.UnknownVersions == nil {
			out.UnknownVersions = map[string]uint64{}
		}
		if len(versions) == 1 {
			out.Version = versions[0]
		}
		if fine {
			out.Sketch = &api.Sketch{Edges: append([]float64{}, sketch.Edges...), Counts: append([]uint64{}, sketch.Counts...)}
		}
		return out, nil
	})
}

// queryBool parses true or false in the query. It returns false if name is absent.
func queryBool(c *fiber.Ctx, name string) (bool, error) {
	args := c.Context().QueryArgs()
	if !args.Has(name) {
		return false, nil
	}
	switch string(args.Peek(name)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, api.NewProblem(api.ValidationError, name, "must be true or false")
}

// counted returns the versions whose counters are requested.
func counted(models registry.View, id, version string) ([]*registry.Facts, error) {
	if version == "" {
		all, err := models.List(id)
		if err != nil {
			return nil, err //nolint:wrapcheck // it becomes a problem
		}
		var out []*registry.Facts
		for _, st := range all {
			if st.Facts != nil {
				out = append(out, st.Facts)
			}
		}
		if out == nil {
			err = &model.UnavailableError{ID: id, Reason: "it has not been loaded yet", RetryAfter: model.RetryAfter}
		}
		return out, err
	}
	m, err := models.Peek(id, version)
	if err != nil {
		return nil, err //nolint:wrapcheck // it becomes a problem
	}
	return []*registry.Facts{m}, nil
}

// figures converts counters for the API.
func figures(s *stats.Snapshot) api.Stats {
	errors := s.Errors
	if errors == nil {
		errors = map[string]uint64{}
	}
	out := api.Stats{
		Requests: s.Requests, Pinned: s.Pinned, Streamed: s.Streamed, Errors: errors, Rows: s.Rows, Scored: s.Scored, Failed: s.Failed, Anomalies: s.Anomalies, Nonfinite: s.Nonfinite,
		ScoreSum: s.Sum, ScoreMean: s.Mean, Histogram: api.Histogram{Edges: s.Edges, Counts: s.Bins},
		Durations: api.Histogram{Edges: inSeconds(s.LatencyEdges), Counts: s.Latency},
	}
	if s.Scored > 0 {
		out.ScoreMin, out.ScoreMax = &s.Low, &s.High
	}
	return out
}
