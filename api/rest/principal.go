package rest

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// models returns the view of the models that a request's principal has.
func (s *Server) models(c *fiber.Ctx) registry.View { return s.registry.For(viewer(principalOf(c))) }

// context returns a request's context, which the caller must end with End.
func (s *Server) context(c *fiber.Ctx, start time.Time) *until.Context {
	return s.contextOf(until.Request{Caller: callerOf(c), Principal: viewer(principalOf(c)), Span: spanOf(c)}, start)
}

func (s *Server) contextOf(r until.Request, start time.Time) *until.Context {
	return until.New(s.base, start.Add(s.cfg.Timeout), r)
}
