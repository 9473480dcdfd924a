package rest

import "github.com/pynomaly/pynomaly-runtime/api"

// AsProblem is asProblem, for the tests.
func AsProblem(err error) *api.Problem { return asProblem(err, whole) }
