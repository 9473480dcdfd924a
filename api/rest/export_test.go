package rest

import "github.com/pynomaly/pynomaly-runtime/api"

// AsProblem is asProblem, for the tests.
func AsProblem(err error) *api.Problem { return asProblem(err) }

// Hurry does to the open connections what stopping does once the listener is closed.
func (s *Server) Hurry() {
	l := s.conns.Load()
	l.closing.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.hurry()
	}
}

// Serves says whether Serve has begun.
func (s *Server) Serves() bool { return s.conns.Load() != nil }
