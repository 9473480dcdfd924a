package rest

// OpenConnections is how many connections are open.
func (s *Server) OpenConnections() int { return int(s.app.Server().GetOpenConnectionsCount()) }
