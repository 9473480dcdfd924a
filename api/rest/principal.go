package rest

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

const principalLocal = "principal"

// identify finds out who sends a request, once, before anything is done for it.
func (s *Server) identify(c *fiber.Ctx) error {
	if s.cfg.Identify == nil {
		return nil
	}
	p, err := s.cfg.Identify(c)
	if err == nil && p != nil {
		c.Locals(principalLocal, p)
	}
	return err
}

// principal is who sends a request; nil: nobody was asked.
func principal(c *fiber.Ctx) until.Principal {
	p, _ := c.Locals(principalLocal).(until.Principal)
	return p
}

// models are those that there are for whoever sends a request.
func (s *Server) models(c *fiber.Ctx) registry.View { return s.registry.For(principal(c)) }

// context returns what a request is answered under; End ends it.
func (s *Server) context(c *fiber.Ctx, start time.Time) *until.Context {
	return s.contextOf(until.Request{Caller: callerOf(c), Principal: principal(c)}, start)
}

func (s *Server) contextOf(r until.Request, start time.Time) *until.Context {
	return until.New(s.base, start.Add(s.cfg.Timeout), r)
}
