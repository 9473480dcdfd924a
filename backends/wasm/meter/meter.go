// Package meter rewrites WebAssembly modules so that every function and every
// turn of every loop pays for the instructions it is about to run. Where the
// money is spent, the host is asked for more, and may end the call: no module
// that has been rewritten can hold a thread.
//
// It also replaces the selects that the engine is wrong about.
//
// It knows nothing of plugins or of what a module computes. It does not validate
// modules either (the engine does): it refuses what it does not understand and
// sees to it that nothing invalid becomes valid by what is added.
package meter

import (
	"errors"
	"fmt"
)

// The names under which a rewritten module meets its host: a function i64 -> i64
// that is given the debt and answers with a new slice, the counter, and two
// functions without parameters. Keep notes the values of the mutable globals and
// the size of the memory; Reset brings them back. A module that changes its tables
// or drops segments has neither: a reset could not undo that.
const (
	ImportModule  = "\x00meter"
	ImportName    = "refuel"
	CounterExport = "\x00fuel"
	KeepExport    = "\x00keep"
	ResetExport   = "\x00reset"
)

// Version counts the changes to what Rewrite makes of a module.
const Version = 2

// ErrModule is wrapped by every reason for not rewriting a module.
var ErrModule = errors.New("not a module that can be metered")

// Limits bound what is read, and so what the engine is given to decode, compile
// and make instances of.
type Limits struct {
	Bytes         int    // of the module
	Code          int    // bytes of all bodies, metered
	Functions     int    // defined in it
	FunctionBytes int    // of one body
	Locals        int    // of one function, parameters included
	AllLocals     int    // of all functions
	LocalBlocks   int    // locals x blocks of one function: compile time grows with it
	Depth         int    // of blocks in blocks
	Values        int    // that the calls, blocks and branches of one function pass
	AllValues     int    // of all functions
	Globals       int    //
	TableEntries  uint32 // of each table; its maximum is lowered to this
	Tables        int
	Types         int
	TypeValues    int // parameters of one type, and results
	AllTypeValues int // of all types
	Imports       int
	Exports       int
	NameBytes     int // of all names of imports and exports
	Segments      int // of elements, and of data
	Elements      int // of all segments
}

// DefaultLimits are generous for detectors that compilers make.
func DefaultLimits() Limits {
	return Limits{
		Bytes: 64 << 20, Code: 32 << 20, Functions: 100_000, FunctionBytes: 1 << 20, Locals: 10_000, AllLocals: 4_000_000,
		LocalBlocks: 4_000_000, Depth: 50_000, Values: 2_000_000, AllValues: 10_000_000,
		Globals: 10_000, TableEntries: 1 << 16, Tables: 16, Types: 10_000, TypeValues: 1000, AllTypeValues: 100_000,
		Imports: 1000, Exports: 10_000, NameBytes: 1 << 20, Segments: 100_000, Elements: 200_000,
	}
}

// Rewrite returns the metered form of a module. The error wraps ErrModule and
// says at which byte what was met.
func Rewrite(module []byte, limits Limits) (out []byte, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case refusal:
			out, err = nil, fmt.Errorf("%w: %s", ErrModule, string(p))
		default:
			panic(p)
		}
	}()
	if len(module) > limits.Bytes {
		refuse("it has %d bytes; at most %d are taken", len(module), limits.Bytes)
	}
	m := parse(module, limits)
	return m.rewrite(), nil
}

// refusal ends the rewriting; only Rewrite recovers it.
type refusal string

func refuse(format string, args ...any) { panic(refusal(fmt.Sprintf(format, args...))) }
