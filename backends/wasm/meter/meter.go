// Package meter rewrites WebAssembly modules so that every function call and every
// iteration of every loop pays for the instructions that it is about to run. When a
// slice of units is spent, the module asks the host for more, and the host may end
// the call. So no rewritten module can occupy a thread for ever.
//
// The package also replaces the selects that the engine compiles wrongly.
//
// It knows nothing of plugins or of what a module computes. It does not validate
// modules, as the engine does. It refuses what it does not understand, and makes
// sure that its additions make no invalid module valid.
package meter

import (
	"errors"
	"fmt"
)

// The names through which a rewritten module and its host interact: the import, a
// function i64 -> i64 that takes the debt and returns a new slice; the counter; and
// two functions without parameters. Keep saves the mutable globals and the size of
// the memory, and Reset restores them. A module that changes its tables or drops
// segments has neither, because Reset could not undo that.
const (
	ImportModule  = "\x00meter"
	ImportName    = "refuel"
	CounterExport = "\x00fuel"
	KeepExport    = "\x00keep"
	ResetExport   = "\x00reset"
)

// Version counts the changes to the output of Rewrite.
const Version = 2

// ErrModule is wrapped by every reason for not rewriting a module.
var ErrModule = errors.New("not a module that can be metered")

// Limits bound what is read, and so what the engine has to decode, compile and
// instantiate.
type Limits struct {
	Bytes         int    // of the module
	Code          int    // bytes of all metered bodies
	Functions     int    // defined in it
	FunctionBytes int    // of one body
	Locals        int    // of one function, parameters included
	AllLocals     int    // of all functions
	LocalBlocks   int    // locals x blocks of one function: compile time grows with it
	Depth         int    // of nested blocks
	Values        int    // passed by the calls, blocks and branches of one function
	AllValues     int    // of all functions
	Globals       int    //
	TableEntries  uint32 // of each table; a larger maximum is lowered to this
	Tables        int
	Types         int
	TypeValues    int // parameters of one type, or results
	AllTypeValues int // of all types
	Imports       int
	Exports       int
	NameBytes     int // of all names of imports and exports
	Segments      int // element segments, and data segments
	Elements      int // of all segments
}

// DefaultLimits returns limits that are generous for detectors made by compilers.
func DefaultLimits() Limits {
	return Limits{
		Bytes: 64 << 20, Code: 32 << 20, Functions: 100_000, FunctionBytes: 1 << 20, Locals: 10_000, AllLocals: 4_000_000,
		LocalBlocks: 4_000_000, Depth: 50_000, Values: 2_000_000, AllValues: 10_000_000,
		Globals: 10_000, TableEntries: 1 << 16, Tables: 16, Types: 10_000, TypeValues: 1000, AllTypeValues: 100_000,
		Imports: 1000, Exports: 10_000, NameBytes: 1 << 20, Segments: 100_000, Elements: 200_000,
	}
}

// Rewrite returns the metered form of a module. The error wraps ErrModule and says
// what is wrong at which byte.
func Rewrite(module []byte, limits Limits) (out []byte, err error) {
	defer recoverRefusal(&err)
	if len(module) > limits.Bytes {
		refuse("it has %d bytes; at most %d are allowed", len(module), limits.Bytes)
	}
	m := parse(module, limits)
	return m.rewrite(), nil
}

// LeastMemory returns the bytes of memory with which an instance of a module begins. The
// module and the error are as for Rewrite.
func LeastMemory(module []byte) (bytes int64, err error) {
	defer recoverRefusal(&err)
	const page = 1 << 16
	if m := parse(module, DefaultLimits()).memory; m != nil {
		bytes = int64(m.least) * page
	}
	return bytes, nil
}

// recoverRefusal recovers a refusal and stores it as an error.
func recoverRefusal(err *error) {
	switch p := recover().(type) {
	case nil:
	case refusal:
		*err = fmt.Errorf("%w: %s", ErrModule, string(p))
	default:
		panic(p)
	}
}

// refusal ends the reading of a module. Only recoverRefusal recovers it.
type refusal string

func refuse(format string, args ...any) { panic(refusal(fmt.Sprintf(format, args...))) }
