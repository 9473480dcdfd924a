package backends

// FaultError says that a detector failed: it panicked, trapped, or ran out of
// something. That says nothing of the rows that it was given, although they may be what
// brought it about. What a detector has to say of rows is an *sdk.RowErrors, or any
// other error.
type FaultError struct{ Err error }

// Error says how it failed.
func (e *FaultError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *FaultError) Unwrap() error { return e.Err }
