package backends

// FaultError says that a detector failed: it panicked, trapped, or ran out of a
// resource. The rows may have caused it, but the error does not say so. A
// detector reports bad rows with *sdk.RowErrors or with any other error.
type FaultError struct{ Err error }

// Error returns the text of Err.
func (e *FaultError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *FaultError) Unwrap() error { return e.Err }
