package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/host"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// listModels answers GET /api/v1/models.
func (s *Server) listModels(c *fiber.Ctx) error {
	all, err := s.models(c).List("")
	if err != nil {
		return s.fail(c, nil, err)
	}
	out := api.ModelList{Models: []api.ModelVersion{}, Total: len(all)}
	for _, p := range s.models(c).Unmet(s.textFor(c)) {
		out.Problems = append(out.Problems, p.Why)
	}
	if s.models(c).Sees(s.cfg.DefaultModel) {
		out.Default = s.cfg.DefaultModel
	}
	for _, st := range all {
		out.Models = append(out.Models, describe(st, s.textFor(c)))
	}
	return s.json(c, out)
}

// getModel answers GET /api/v1/models/{id}.
func (s *Server) getModel(c *fiber.Ctx) error {
	id, err := s.pathID(c)
	if err != nil {
		return s.fail(c, nil, err)
	}
	all, err := s.models(c).List(id)
	if err != nil {
		return s.fail(c, nil, err)
	}
	aliases := s.models(c).AliasesOf(id)
	out := api.Model{ModelID: id, Aliases: aliases.Names, Default: aliases.Default}
	for _, st := range all {
		out.Versions = append(out.Versions, describe(st, s.textFor(c)))
	}
	return s.json(c, out)
}

func describe(st registry.Status, of text) api.ModelVersion {
	v := api.ModelVersion{ModelID: st.ID, Version: st.Version, Status: string(st.State), Pinned: st.Pinned, Changed: st.Changed.UTC()}
	if st.Error != nil {
		v.Error, v.Failure = of(st.Error), string(st.Failure)
	}
	if !st.RetryAt.IsZero() {
		at := st.RetryAt.UTC()
		v.RetryAt = &at
	}
	if st.Unwell != nil {
		v.Warnings = append(v.Warnings, "it cannot answer now: "+of(st.Unwell))
	}
	if st.Warning != "" {
		v.Warnings = append(v.Warnings, st.Warning)
	}
	if st.Facts == nil {
		return v
	}
	m := st.Facts.Manifest
	v.Warnings = append(v.Warnings, st.Facts.Warnings...)
	if n := st.Facts.Resets; n > 0 {
		v.Warnings = append(v.Warnings, fmt.Sprintf("what it had learned since its last snapshot was lost %d times since it was loaded: the log says why", n))
	}
	v.Description, v.Algorithm, v.Backend, v.Digest, v.Content = m.Description, m.Algorithm, m.Backend, st.Facts.Digest, st.Facts.Content
	v.Threshold, v.Stateful, v.Metadata = m.Threshold, m.Stateful, m.Metadata
	v.BatchDependent, v.ScoreDifference, v.MaxBatchRows = m.BatchDependent, st.Facts.Difference, m.Limits.MaxBatchRows
	if st.State == registry.StateLoaded {
		v.MemoryBytes = st.Facts.Bytes
		if e := st.Facts.Engine; e.Name != "" {
			v.Engine = &api.Engine{Name: e.Name, Detail: e.Detail}
		}
	}
	if m.Calibration != nil {
		v.Calibration = m.Calibration.Method
	}
	if m.Explanation != nil {
		v.Explanation = m.Explanation.Method
	}
	for _, f := range m.Features {
		v.Features = append(v.Features, api.Feature{Name: f.Name, DType: f.DType.String(), Missing: missing(f.Missing)})
	}
	if m.IgnoreUnknown {
		v.Unknown = "ignore"
	}
	return v
}

// missing returns the rule for a feature's missing values as clients see it, or nil
// if a missing value is an error.
func missing(m manifest.Missing) json.RawMessage {
	switch m.Policy {
	case manifest.MissingIsNaN:
		return json.RawMessage(`"nan"`)
	case manifest.MissingIsValue:
		return appendValue(nil, m.Value)
	case manifest.MissingIsError:
	}
	return nil
}

// pathID returns the model id of the path.
func (s *Server) pathID(c *fiber.Ctx) (string, error) {
	id := c.Params("id")
	if !validName([]byte(id), false) {
		return "", api.NewProblem(api.ValidationError, "model_id", "must be 1 to 128 letters, digits, - and _")
	}
	return string([]byte(id)), nil // fiber reuses the memory
}

func pathVersion(c *fiber.Ctx) (string, error) {
	args := c.Context().QueryArgs()
	v := args.Peek("version")
	if args.Has("version") && !validName(v, true) {
		return "", api.NewProblem(api.ValidationError, "version", "must be a semantic version, an alias or latest")
	}
	return string(v), nil
}

// onModel responds with do's result for the model id and version of the path and the
// query. The version is empty if none is named. onModel reads no body, so a long
// load waits for nothing on the connection.
func (s *Server) onModel(c *fiber.Ctx, do func(id, version string) (any, error)) error {
	received(c.Context().Conn())
	id, err := s.pathID(c)
	if err != nil {
		return s.fail(c, nil, err)
	}
	version, err := pathVersion(c)
	if err != nil {
		return s.fail(c, nil, err)
	}
	answer, err := do(id, version)
	if err != nil {
		return s.fail(c, nil, err)
	}
	return s.json(c, answer)
}

// loadModel answers POST /api/v1/models/{id}/load.
func (s *Server) loadModel(c *fiber.Ctx) error {
	return s.onModel(c, func(id, version string) (any, error) {
		ctx := s.context(c, s.cfg.Now())
		defer ctx.End()
		lease, err := s.models(c).Load(ctx, id, version)
		if err != nil {
			return nil, err //nolint:wrapcheck // it becomes a problem
		}
		loaded := lease.Model().Version()
		lease.Release()
		all, err := s.models(c).List(id)
		if err != nil {
			return nil, err //nolint:wrapcheck // it becomes a problem
		}
		for _, st := range all {
			if st.Version == loaded {
				return describe(st, s.textFor(c)), nil
			}
		}
		return nil, api.NewProblem(api.VersionNotFound, "version", "version %s was removed while it was loaded", loaded)
	})
}

// unloadModel answers DELETE /api/v1/models/{id}/unload.
func (s *Server) unloadModel(c *fiber.Ctx) error {
	return s.onModel(c, func(id, version string) (any, error) {
		unloaded, err := s.models(c).Unload(id, version)
		if unloaded == nil {
			unloaded = []string{}
		}
		return api.Unloaded{ModelID: id, Unloaded: unloaded}, err
	})
}

// onRows decodes rows for the path's model and responds with do's result. If counted
// is set, failures count against the model.
func (s *Server) onRows(c *fiber.Ctx, counted bool, do func(context.Context, *request) (any, error)) error {
	id, err := s.pathID(c)
	if err != nil {
		return s.fail(c, nil, err)
	}
	body, err := s.rowsBody(c)
	if err != nil {
		return s.fail(c, nil, err)
	}
	defer s.buffers.put(body)
	ctx := s.context(c, s.cfg.Now())
	defer ctx.End()
	r := s.request(ctx, predict.Call{})
	defer s.end(r)
	r.modelID = id
	if err := s.read(ctx, r, body.b, learn); err != nil {
		return s.fail(c, nil, err)
	}
	answer, err := do(ctx, r)
	if err != nil {
		var m *model.Model
		if counted {
			m = r.Model()
		}
		return s.fail(c, m, err)
	}
	return s.json(c, answer)
}

// learn answers POST /api/v1/models/{id}/learn.
func (s *Server) learn(c *fiber.Ctx) error {
	return s.onRows(c, true, func(ctx context.Context, r *request) (any, error) {
		m := r.Model()
		return api.Learned{ModelID: m.ID(), Version: m.Version(), Rows: r.Rows().Total()}, s.pipeline.Learn(ctx, &r.Call)
	})
}

// health answers GET /health.
func (s *Server) health(c *fiber.Ctx) error {
	now := s.cfg.Now()
	loaded, _ := s.registry.Counts()
	const mb = 1 << 20
	return s.json(c, api.Health{
		Status: "healthy", Timestamp: now.UTC(), Version: s.cfg.Version, UptimeSeconds: now.Sub(s.started).Round(time.Millisecond).Seconds(),
		LoadedModels: loaded, ActiveConnections: int(s.app.Server().GetOpenConnectionsCount()), MemoryUsageMB: float64(host.ResidentBytes()) / mb,
	})
}

// ready answers GET /ready.
func (s *Server) ready(c *fiber.Ctx) error {
	out := api.Ready{Reason: s.registry.NotReadyPublic()}
	if s.mayManage(c) {
		out.Reason = s.registry.NotReady()
	}
	out.Ready = out.Reason == ""
	if s.draining.Load() {
		out = api.Ready{Reason: "the host is shutting down"}
	}
	if !out.Ready {
		c.Status(fiber.StatusServiceUnavailable)
		c.Set(fiber.HeaderRetryAfter, "1")
	}
	return s.json(c, out)
}

// json responds with a body of package api.
func (s *Server) json(c *fiber.Ctx, v any) error {
	s.requestID(c)
	return c.JSON(v)
}
