package meter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/asm"
)

// zero holds instructions that push a zero, by type.
var zero = map[byte][]byte{
	i32: ci32(0), i64: ci64(0), f32: asm.Ops(0x43, make([]byte, 4)), f64: cf64(0), v128: asm.Ops(0xfd, 12, make([]byte, 16)),
	0x70: {0xd0, 0x70}, extern: {0xd0, extern},
}

func interpreter(t testing.TB) (context.Context, wazero.Runtime) {
	t.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { _ = r.Close(ctx) })
	if err := meter.Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	return ctx, r
}

// TestSelectsStayInvalid checks that rewriting does not change whether a select is
// valid, whatever its operands, in reachable and unreachable code.
func TestSelectsStayInvalid(t *testing.T) {
	ctx, r := interpreter(t)
	kinds := []byte{i32, i64, f32, f64, v128, 0x70, extern}
	valids, tried := 0, 0
	check := func(name string, module asm.Module, lie bool) {
		t.Helper()
		before, after := valid(ctx, r, module.Bytes()) && !lie, false
		if out, err := meter.Rewrite(module.Bytes(), meter.DefaultLimits()); err == nil {
			after = valid(ctx, r, out)
		} else if !errors.Is(err, meter.ErrModule) {
			t.Error(err)
		}
		tried++
		if before {
			valids++
		}
		if before != after {
			t.Errorf("%s: valid before: %v, after: %v", name, before, after)
		}
	}
	for _, a := range kinds {
		for _, b := range kinds {
			for _, c := range kinds {
				for _, claim := range append(kinds, 0) {
					end := []any{0x1b, 0x1a}
					if claim != 0 {
						end = []any{0x1c, vec([]byte{claim}), 0x1a}
					}
					live := append([]any{zero[a], zero[b], zero[c]}, end...)
					lie := claim != 0 && (a != claim || b != claim) // wazero does not check this
					check(fmt.Sprintf("%x %x %x as %x", a, b, c, claim), one(nil, nil, nil, live...), lie)
					check(fmt.Sprintf("%x %x %x as %x, dead", a, b, c, claim), one(nil, nil, nil, append([]any{0x00}, live...)...), false)
				}
			}
		}
	}
	for _, k := range []byte{f32, f64, v128} {
		for _, local := range []uint64{0, 1, 2, 3, 4} { // the module has one local of that type
			for _, op := range []int{0x20, 0x21, 0x22} {
				code := []any{zero[k], zero[k], zero[i32], 0x1b, op, leb(local)}
				check(fmt.Sprintf("local %d, %#x, %x", local, op, k), one(nil, nil, vec(cat(leb(1), []byte{k})), append(code, 0x1a)...), false)
				check(fmt.Sprintf("local %d, %#x, %x, i32", local, op, k), one(nil, nil, vec(cat(leb(1), []byte{k})), zero[k], zero[k], zero[i32], 0x1b, 0x1a, zero[i32], op, leb(local)), false)
			}
		}
		check("the result is of another type", one(nil, []byte{i32}, nil, zero[k], zero[k], zero[i32], 0x1b), false)
		check("a value is left over", one(nil, nil, nil, zero[k], zero[k], zero[i32], 0x1b), false)
		check("an operand from outside the block", one(nil, nil, nil, zero[k], 0x02, 0x40, zero[k], zero[i32], 0x1b, 0x1a, 0x0b, 0x1a), false)
	}
	if valids < 50 || tried < 5000 {
		t.Errorf("%d modules, of them %d valid", tried, valids)
	}
}

// samples returns the instructions that TestEffects tries. Their immediates fit the
// test's module. Some are undefined.
func samples() (all [][]byte) {
	plain := func(first, last int, immediates ...byte) {
		for op := first; op <= last; op++ {
			all = append(all, append([]byte{byte(op)}, immediates...))
		}
	}
	plain(0x01, 0x01)
	plain(0x1a, 0x1a)
	plain(0x25, 0x26, 0)
	plain(0x28, 0x3e, 0, 0)
	plain(0x3f, 0x40, 0)
	plain(0x41, 0x42, 0)
	plain(0x43, 0x43, make([]byte, 4)...)
	plain(0x44, 0x44, make([]byte, 8)...)
	plain(0x45, 0xc4)
	plain(0xd0, 0xd0, 0x70)
	plain(0xd1, 0xd1)
	plain(0xd2, 0xd2, 0)
	for sub := range byte(18) {
		bulk := []byte{0xfc, sub}
		switch {
		case sub == 8, sub == 10, sub == 12, sub == 14:
			bulk = append(bulk, 0, 0)
		case sub > 7:
			bulk = append(bulk, 0)
		}
		all = append(all, bulk)
	}
	for sub := range 256 {
		vector := append([]byte{0xfd}, leb(uint64(sub))...)
		switch {
		case sub <= 11, sub == 92, sub == 93:
			vector = append(vector, 0, 0)
		case sub == 12, sub == 13:
			vector = append(vector, make([]byte, 16)...)
		case sub >= 21 && sub <= 34:
			vector = append(vector, 0)
		case sub >= 84 && sub <= 91:
			vector = append(vector, 0, 0, 0)
		}
		all = append(all, vector)
	}
	return all
}

// TestEffects checks that the types of operands are tracked through every
// instruction as the engine does it, so that selects around an instruction get their
// actual types.
func TestEffects(t *testing.T) {
	ctx, r := interpreter(t)
	kinds := []byte{i32, i64, f32, f64, v128, 0x70}
	module := func(code ...any) []byte {
		b := one(nil, nil, nil, code...)
		b.Tables = vec(cat([]byte{0x70, 0}, leb(1)))
		b.Elements = vec(cat([]byte{1, 0}, vec(leb(0)))) // passive
		b.Count, b.Data = leb(1), vec(cat([]byte{1}, vec()))
		return b.Bytes()
	}
	known := 0
	for _, op := range samples() {
		var operands []byte
		unused := false
		for len(operands) < 4 { // the last operand comes first
			var fit []byte
			for _, k := range kinds {
				code := []any{0x00, zero[k]}
				for _, o := range operands {
					code = append(code, zero[o])
				}
				if valid(ctx, r, module(append(code, op, 0x00)...)) {
					fit = append(fit, k)
				}
			}
			if unused = len(fit) == 0; unused || (len(fit) > 1 && op[0] != 0x1a && op[0] != 0xd1) {
				break
			}
			operands = slices.Insert(operands, 0, fit[len(fit)-1]) // for drop and ref.is_null, any type
			if op[0] == 0x1a || op[0] == 0xd1 {
				break
			}
		}
		if unused {
			continue
		}
		known++
		var results []byte
		for _, k := range kinds {
			if valid(ctx, r, module(0x02, int(k), 0x00, op, 0x0b, 0x1a)) {
				results = append(results, k)
			}
		}
		if len(results) == len(kinds) { // it leaves nothing
			results = nil
		}
		marker := f32 // of a type that is not among the operands
		for _, k := range []byte{f64, v128} {
			if slices.Contains(operands, byte(marker)) {
				marker = int(k)
			}
		}
		code := []any{zero[byte(marker)]}
		for _, k := range operands {
			code = append(code, zero[k])
		}
		code = append(code, op)
		want := 1
		switch {
		case len(results) > 1:
			t.Errorf("%x: leaves any of %x", op, results)
		case len(results) == 1 && results[0] != 0x70:
			code = append(code, zero[results[0]], zero[i32], 0x1b, 0x1a)
			if results[0] != i32 && results[0] != i64 {
				want++
			}
		case len(results) == 1:
			code = append(code, 0x1a)
		}
		body := module(append(code, zero[byte(marker)], zero[i32], 0x1b, 0x1a)...)
		out, err := meter.Rewrite(body, meter.DefaultLimits())
		if err != nil || !valid(ctx, r, body) || !valid(ctx, r, out) || replaced(out) != want {
			t.Errorf("%x: takes %x and leaves %x: %v, valid before: %v, after: %v, %d replaced, want %d", op, operands, results, err, valid(ctx, r, body), valid(ctx, r, out), replaced(out), want)
		}
	}
	if known != 418 {
		t.Errorf("%d instructions are known", known)
	}
}

// TestSelectRefusals checks that code that cannot be tracked is refused with a
// reason.
func TestSelectRefusals(t *testing.T) {
	limits := meter.DefaultLimits()
	limits.LocalBlocks = 100
	sel := func(before ...any) []any { return append(before, zero[f64], zero[f64], zero[i32], 0x1b, 0x1a) }
	base := func(code ...any) asm.Module { return one(nil, nil, nil, code...) }
	many := func(n int, code ...any) asm.Module {
		m := base(code...)
		m.Types = vec(sig(nil, nil), sig(nil, slices.Repeat([]byte{i32}, n)))
		return m
	}
	locals := func(n uint64, code ...any) asm.Module { return one(nil, nil, vec(cat(leb(n), []byte{f64})), code...) }
	for name, c := range map[string]struct {
		module asm.Module
		want   string // empty: accepted
	}{
		"no operands":           {base(0x1b), "takes 3 operands where there are 0"},
		"no operands, typed":    {base(0x1c, vec([]byte{f64})), "takes 3 operands where there are 0"},
		"operands of the block": {base(sel(ci32(1), 0x02, 0x40, 0x1a, 0x0b)...), "takes 1 operands where there are 0"},
		"parameters of a block": {func() asm.Module {
			m := many(0, sel(0x02, leb(2), 0x0b)...)
			m.Types = vec(sig(nil, nil), sig(nil, nil), sig([]byte{i32, i32}, nil))
			return m
		}(), "takes 2 operands where there are 0"},
		"typed as something else":     {base(zero[f64], zero[f64], zero[i32], 0x1c, vec([]byte{i64}), 0x1a), "of values of type 0x7c that declares 0x7e"},
		"operands of two types":       {base(zero[f64], zero[f32], zero[i32], 0x1b, 0x1a), "different types, 0x7c and 0x7d"},
		"local":                       {base(sel(0x20, leb(0), 0x1a)...), "local 0 does not exist"},
		"local beyond 32 bits":        {base(sel(0x20, leb(1<<32-1), 0x1a)...), "local 4294967295 does not exist"},
		"global":                      {base(sel(0x23, leb(0), 0x1a)...), "global 0 does not exist"},
		"function":                    {base(sel(0x10, leb(1))...), "function 1 does not exist"},
		"type of a call":              {base(sel(zero[i32], 0x11, leb(9), leb(0))...), "type 9 does not exist"},
		"type of a block":             {base(sel(0x02, leb(1), 0x0b)...), "type 1 does not exist"},
		"table":                       {base(sel(zero[i32], 0x25, leb(0), 0x1a)...), "table 0 does not exist"},
		"1,000 results":               {many(1000, sel(0x02, leb(1), 0x00, 0x0b, 0x00)...), ""},
		"1,001 results":               {many(1001, sel(0x02, leb(1), 0x00, 0x0b, 0x00)...), "it has 1001 values of a type; at most 1000"},
		"1,001 without a select":      {many(1001, 0x02, leb(1), 0x00, 0x0b, 0x00), "it has 1001 values of a type; at most 1000"},
		"many operands":               {many(1000, sel(slices.Repeat([]any{0x02, leb(1), 0x00, 0x0b}, 1100)...)...), "more than 1048576 operands"},
		"as many locals as are taken": {locals(48, 0x02, 0x40, 0x0b, zero[f64], 0x1a), ""},
		"locals with the added one":   {locals(49, sel(0x02, 0x40, 0x0b)...), "their product"},
		"locals without a select":     {locals(49, 0x02, 0x40, 0x0b), ""},
	} {
		t.Run(name, func(t *testing.T) {
			limits := limits
			if name == "many operands" {
				limits.LocalBlocks, limits.Values = 1<<20, 1<<30
			}
			_, err := meter.Rewrite(c.module.Bytes(), limits)
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, meter.ErrModule) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestSelectsAreFoundInTime checks that bodies of 1 MiB that are hard to track do
// not take long.
func TestSelectsAreFoundInTime(t *testing.T) {
	const size = 1<<20 - 10_000
	limits := meter.DefaultLimits()
	limits.Depth, limits.Values, limits.AllValues = 1<<30, 1<<40, 1<<40 // otherwise they would refuse some bodies
	kinds := slices.Repeat([]byte{i32}, 1000)
	types := vec(sig(nil, nil), sig(nil, kinds), sig(kinds, kinds))
	repeat := func(code ...any) []byte {
		piece := asm.Ops(code...)
		return slices.Repeat(piece, size/len(piece))
	}
	nest := func(begin []byte) []byte {
		n := size / (len(begin) + 1)
		return cat(slices.Repeat(begin, n), slices.Repeat([]byte{0x0b}, n))
	}
	sel := asm.Ops(zero[f64], zero[f64], zero[i32], 0x1b, 0x1a)
	for name, body := range map[string][]byte{
		"blocks, one in the other":          nest([]byte{0x02, 0x40}),
		"ifs, one in the other":             nest(asm.Ops(ci32(1), 0x04, 0x40)),
		"blocks in dead code":               cat([]byte{0x00}, nest([]byte{0x02, 0x40})),
		"blocks with many results":          repeat(0x02, 0x40, 0x02, leb(1), 0x00, 0x0b, 0x00, 0x0b),
		"blocks with results, and branches": repeat(0x02, 0x40, 0x02, leb(1), 0x00, 0x0b, 0x0c, leb(0), 0x0b),
		"ifs with many parameters":          cat([]byte{0x02}, leb(1), []byte{0x00, 0x0b}, repeat(ci32(1), 0x04, leb(2), 0x05, 0x0b)),
		"a long br_table":                   asm.Ops(0x02, 0x40, ci32(0), 0x0e, vec(slices.Repeat([][]byte{leb(0)}, size)...), leb(0), 0x0b),
		"selects":                           cat(zero[f64], repeat(zero[f64], ci32(0), 0x1b), []byte{0x1a}),
		"selects in dead code":              cat([]byte{0x00}, repeat(0x1b)),
	} {
		t.Run(name, func(t *testing.T) {
			m := one(nil, nil, vec(cat(leb(1), []byte{f64})), body, sel)
			m.Types = types
			begin := time.Now()
			_, err := meter.Rewrite(m.Bytes(), limits)
			// Linear tracking takes a second or two, quadratic tracking would take
			// hours.
			if took := time.Since(begin); took > 5*time.Minute || err != nil {
				t.Errorf("%v after %v", err, took)
			}
		})
	}
}
