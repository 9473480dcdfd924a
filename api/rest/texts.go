package rest

import (
	"github.com/gofiber/fiber/v2"

	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/backends"
)

// Errors of models may contain texts of a plugin, a module or a library, and paths
// of this machine. The log and callers who may manage the host get the whole text.
// Other callers get only the kind of the failure.

// text returns the text of an error for a certain reader.
type text func(error) string

// whole returns the whole text, for operators.
func whole(err error) string { return err.Error() }

// textFor returns the text function for a request's caller.
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
