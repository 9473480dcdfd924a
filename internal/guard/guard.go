// Package guard calls code that may panic: a detector, or code that loads one.
//
// Its callers decide what a panic means.
package guard

import (
	"fmt"
	"runtime/debug"
)

// PanicError means that a detector, or the code that runs it, panicked.
type PanicError struct {
	Value any
	Stack []byte
}

// Error returns the value of the panic as text.
func (e *PanicError) Error() string { return fmt.Sprintf("it panicked: %v", e.Value) }

// Call calls call. It returns a panic as a *PanicError.
func Call(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return call()
}
