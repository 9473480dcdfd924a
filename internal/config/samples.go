package config

import (
	"go.yaml.in/yaml/v3"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// Samples configures which rows are kept to compare versions.
type Samples struct {
	Size   int      // rows per version; 0: none
	Models []string // whose rows are kept; empty: all models
	// token is a key of earlier versions. Only an empty value is accepted, because a
	// host that ignored it would show samples to more callers.
	token string
}

// noToken says what to use instead of the token of samples.
const noToken = "has no token any more: samples are shown to keys of a role that has the action samples, such as admin, or {sampler: [read, samples]} in auth.roles"

// tokenOf reads a token without replacing one that was read before.
func tokenOf(s *Server) y.Field {
	return func(d *y.Decoder, n *yaml.Node, path *y.Path) {
		var v string
		y.String(&v)(d, n, path)
		s.Samples.token += v
	}
}
