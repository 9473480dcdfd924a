package registry

import "errors"

// The reasons why a registry has no model for a request. Test for them with
// errors.Is.
var (
	ErrModelNotFound   = errors.New("model not found")
	ErrVersionNotFound = errors.New("version not found")
	ErrShuttingDown    = errors.New("shutting down")
	ErrAmbiguousModel  = errors.New("no model named")
)
