// Package guard calls code that may panic: a detector, or what loads one.
//
// What a panic means to whoever waits for the call is not here.
package guard

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

// Call makes a call. A panic ends that call, as a *PanicError, and nothing else.
func Call(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return call()
}
