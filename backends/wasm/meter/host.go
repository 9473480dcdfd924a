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

// Slice is how many units a module gets at a time: about as many nanoseconds pass
// between two looks at the deadline.
const Slice = 1 << 16

// Budget is what one call may use. It belongs to one call at a time.
type Budget struct {
	Units  int64     // left; may not be read while the call runs
	Slices int64     // handed out so far
	Since  time.Time // when the first was
}

// Busy reports whether a call that has ended was at work, and not waiting for the
// processor, for a good part of the time since its first slice.
func (b *Budget) Busy() bool {
	const share = 4 // machines differ in how long a unit takes
	return b.Slices > 0 && time.Duration(b.Slices*Slice) >= time.Since(b.Since)/share
}

type budgetKey struct{}

// With returns a context whose calls draw on a budget and end with ctx.
func With(ctx context.Context, b *Budget) context.Context {
	return context.WithValue(ctx, budgetKey{}, b)
}

// Instantiate adds the host's side to a runtime. A call of a rewritten module
// whose context has ended, or whose budget is used up, ends with the context's
// error or ErrBudget, wrapped; its instance must not be used again.
func Instantiate(ctx context.Context, r wazero.Runtime) error {
	types := []api.ValueType{api.ValueTypeI64}
	_, err := r.NewHostModuleBuilder(ImportModule).NewFunctionBuilder().
		WithGoFunction(api.GoFunc(refuel), types, types).Export(ImportName).Instantiate(ctx)
	if err != nil {
		return fmt.Errorf("adding the meter: %w", err)
	}
	return nil
}

// refuel takes the debt, at most 0, and answers with a slice. A panic is how a
// host function ends a call; wazero returns it as an error.
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
