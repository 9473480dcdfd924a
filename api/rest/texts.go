package rest

import (
	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/backends"
)

// Errors of models may hold the words of a plugin, of a module or of a library, and
// paths of this machine. Callers who may manage the host, and its log, get them whole;
// everybody else gets the kind of the failure.

// text makes a text of an error, for somebody.
type text func(error) string

// whole is for operators.
func whole(err error) string { return err.Error() }

// textFor chooses by who asks.
func (s *Server) textFor(c *fiber.Ctx) text {
	if s.mayManage(c) {
		return whole
	}
	return backends.PublicText
}

// mayManage reports whether a caller may use the routes that change the host.
func (s *Server) mayManage(c *fiber.Ctx) bool {
	return access.Decide(principalOf(c), access.LoadModel, "") == nil
}
