package rest

import (
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/gate"
)

// audited answers a request and records the outcome in the audit.
func (s *Server) audited(c *fiber.Ctx, r *route) error {
	log, model := s.cfg.Gate.Audit(), ""
	if r.Model == ModelInPath {
		model = strings.Clone(c.Params("id"))
	}
	e := s.cfg.Gate.Entry(principalOf(c), r.action, model, s.caller(c))
	e.Version = string(c.Context().QueryArgs().Peek("version"))
	if err := log.Begin(e); err != nil {
		return s.fail(c, nil, err)
	}
	err := r.handler(c)
	if e.Outcome = "ok"; c.Response().StatusCode() >= fiber.StatusBadRequest {
		e.Outcome, _ = c.Locals(errorTypeLocal).(string)
	}
	if m, err := s.registry.Peek(model, e.Version); err == nil && model != "" {
		e.Version, e.Digest = m.Version(), m.Content
	}
	_ = log.Write(e) // the action is done; the log has what the audit lacks
	return err
}

// predicted records a prediction in the audit.
func (s *Server) predicted(p *access.Principal, from gate.Caller, r *request, failed error) {
	e := s.cfg.Gate.Entry(p, access.Predict, r.modelID, from)
	e.Outcome = "ok"
	if failed != nil {
		e.Outcome = string(asProblem(failed, whole).ErrorType)
	}
	if m := r.Model(); m != nil {
		e.Model, e.Version, e.Digest = m.ID(), m.Version(), m.ContentDigest()
	}
	_ = s.cfg.Gate.Audit().Write(e)
}
