package meter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// ErrBudget ends a call that has used up its units.
var ErrBudget = errors.New("the call's budget of instructions is used up")

// Slice is how many units a module gets at once. It is roughly the number of
// nanoseconds between two checks of the deadline.
const Slice = 1 << 16

// Budget is what one call may use. It belongs to one call at a time.
type Budget struct {
	Units  int64     // left; do not read it while the call runs
	Slices int64     // handed out so far
	Since  time.Time // when the first slice was handed out
}

// Busy reports whether a call that has ended ran for a good part of the time since
// its first slice, instead of waiting for the processor.
func (b *Budget) Busy() bool {
	const share = 4 // machines differ in how long a unit takes
	return b.Slices > 0 && time.Duration(b.Slices*Slice) >= time.Since(b.Since)/share
}

type budgetKey struct{}

// With returns a context whose calls use the budget and end with ctx.
func With(ctx context.Context, b *Budget) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

// Instantiate adds the host's side to a runtime. When a rewritten module's context
// ends or its budget is used up, the call ends with an error that wraps the
// context's error or ErrBudget. The instance must not be used after that.
func Instantiate(ctx context.Context, r wazero.Runtime) error {
	types := []api.ValueType{api.ValueTypeI64}
	_, err := r.NewHostModuleBuilder(ImportModule).NewFunctionBuilder().
		WithGoFunction(api.GoFunc(refuel), types, types).Export(ImportName).Instantiate(ctx)
	if err != nil {
		return fmt.Errorf("adding the meter: %w", err)
	}
	return nil
}

// refuel takes the debt, at most 0, and returns a slice. It panics to end a call;
// wazero returns the panic as an error.
func refuel(ctx context.Context, stack []uint64) {
	b, _ := ctx.Value(budgetKey{}).(*Budget)
	if b == nil {
		panic(ErrBudget)
	}
	if err := ctx.Err(); err != nil {
		panic(err)
	}
	debt := int64(stack[0])
	b.Units += debt
	if b.Slices++; b.Slices == 1 {
		b.Since = time.Now()
	}
	if b.Units <= 0 {
		panic(ErrBudget)
	}
	slice := min(b.Units, Slice)
	b.Units -= slice
	stack[0] = uint64(slice)
}
