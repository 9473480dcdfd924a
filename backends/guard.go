package backends

import (
	"fmt"
	"runtime/debug"
)

// PanicError says that a detector, or the code that runs it, panicked.
type PanicError struct {
	Value any
	Stack []byte
}

// Error says what it panicked with.
func (e *PanicError) Error() string { return fmt.Sprintf("it panicked: %v", e.Value) }

// Guarded makes a call into a detector, or into what loads one. A panic ends that call,
// as a *FaultError with a *PanicError, and nothing else.
func Guarded(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &FaultError{Err: &PanicError{Value: p, Stack: debug.Stack()}}
		}
	}()
	return call()
}
