package meter_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/asm"
)

const (
	f32    = asm.F32
	v128   = asm.V128
	extern = 0x6f
)

// run calls the export "run" and returns the bits of its results, or the error.
func run(t *testing.T, config wazero.RuntimeConfig, module []byte, args ...uint64) string {
	t.Helper()
	ctx := meter.With(t.Context(), &meter.Budget{Units: plenty})
	r := wazero.NewRuntimeWithConfig(ctx, config)
	defer r.Close(context.Background())
	if err := meter.Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	m, err := r.Instantiate(ctx, module)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.ExportedFunction("run").Call(ctx, args...)
	return fmt.Sprintf("%x %s", got, cause(err))
}

// replaced counts the replaced selects by the instructions that end the replacement.
func replaced(module []byte) (n int) {
	for _, end := range [][]byte{{0x1b, 0xbe}, {0x1b, 0xbf}, {0xfd, 18, 0xfd, 82}} {
		n += bytes.Count(module, end)
	}
	return n
}

// TestSelectUnderPressure runs a select whose operands are held over a call, which
// wazero compiled wrongly on amd64. It does not fail if the original module works.
func TestSelectUnderPressure(t *testing.T) {
	for name, c := range map[string]struct {
		kind        byte
		load, store []byte
		size        uint64
		greater     []any // in the first lanes
		a, b        uint64
	}{
		"f32":  {f32, []byte{0x2a, 2}, []byte{0x38, 2}, 4, []any{0x20, leb(0), 0x20, leb(1), 0x5e}, 0x3f800000, 0x40000000},
		"f64":  {f64, []byte{0x2b, 3}, []byte{0x39, 3}, 8, []any{0x20, leb(0), 0x20, leb(1), 0x64}, 0x3ff0000000000000, 0x4000000000000000},
		"v128": {v128, []byte{0xfd, 0, 3}, []byte{0xfd, 11, 3}, 16, []any{0x20, leb(0), 0xfd, 33, 0, 0x20, leb(1), 0xfd, 33, 0, 0x64}, 0x3ff0000000000000, 0x4000000000000000},
	} {
		t.Run(name, func(t *testing.T) {
			load := func(at uint64) []byte { return cat([]byte{0x20, 0}, c.load, leb(at)) }
			module := asm.Module{ // sorts two values in memory, with a comparison behind a pointer
				Types:     vec(sig([]byte{i32}, nil), sig([]byte{c.kind, c.kind}, []byte{i32})),
				Functions: vec(leb(0), leb(1)), Memory: vec([]byte{0, 1}), Exports: vec(export("run", 0, 0), export("memory", 2, 0)),
				Tables: vec(cat([]byte{0x70, 0}, leb(1))), Elements: vec(cat(leb(0), ci32(0), []byte{0x0b}, vec(leb(1)))),
				Code: vec(fn(vec(cat(leb(2), []byte{c.kind}), cat(leb(1), []byte{i32})),
					load(0), 0x21, leb(1), load(c.size), 0x21, leb(2),
					0x20, leb(1), 0x20, leb(2), ci32(0), 0x11, leb(1), leb(0), 0x21, leb(3),
					0x20, leb(0), 0x20, leb(2), 0x20, leb(1), 0x20, leb(3), 0x1b, c.store, leb(0),
					0x20, leb(0), 0x20, leb(1), 0x20, leb(2), 0x20, leb(3), 0x1b, c.store, leb(c.size),
				), fn(nil, c.greater...)),
			}.Bytes()
			sorted := func(config wazero.RuntimeConfig, module []byte, a, b uint64) string {
				ctx := meter.With(t.Context(), &meter.Budget{Units: plenty})
				r := wazero.NewRuntimeWithConfig(ctx, config)
				defer r.Close(context.Background())
				if err := meter.Instantiate(ctx, r); err != nil {
					t.Fatal(err)
				}
				m, err := r.Instantiate(ctx, module)
				if err != nil {
					t.Fatal(err)
				}
				m.Memory().WriteUint64Le(0, a)
				m.Memory().WriteUint64Le(uint32(c.size), b)
				if _, err := m.ExportedFunction("run").Call(ctx, 0); err != nil {
					t.Fatal(err)
				}
				view, _ := m.Memory().Read(0, uint32(2*c.size))
				return fmt.Sprintf("%x", view)
			}
			out := rewrite(t, module)
			for _, v := range [][2]uint64{{c.a, c.b}, {c.b, c.a}} {
				want := sorted(wazero.NewRuntimeConfigInterpreter(), module, v[0], v[1])
				if plain := sorted(wazero.NewRuntimeConfig(), module, v[0], v[1]); plain != want {
					t.Logf("as it was: %s, not %s", plain, want)
				}
				if got := sorted(wazero.NewRuntimeConfig(), out, v[0], v[1]); got != want {
					t.Errorf("%x: %s, want %s", v, got, want)
				}
			}
		})
	}
}

// selectOf returns a module that chooses between two parameters by a third.
func selectOf(kind byte, typed bool) asm.Module {
	code := []any{0x20, leb(0), 0x20, leb(1), 0x20, leb(2), 0x1b}
	if typed {
		code = append(code[:6], 0x1c, vec([]byte{kind}))
	}
	return one([]byte{kind, kind, i32}, []byte{kind}, nil, code...)
}

// abc pushes the parameters of a select: a, b and the condition.
var abc = asm.Ops(0x20, leb(0), 0x20, leb(1), 0x20, leb(2))

// selecting returns a module whose run takes two f64 and a condition and returns an
// f64. It has further types, functions, a table and globals for the body to use.
func selecting(code ...any) asm.Module {
	params := []byte{f64, f64, i32}
	return asm.Module{
		Types:     vec(sig(params, []byte{f64}), sig(params, params), sig([]byte{f64}, []byte{f64, f64}), sig(nil, []byte{f64})),
		Functions: vec(leb(0), leb(1), leb(3)), Memory: vec([]byte{0, 1}), Exports: vec(export("run", 0, 0)),
		Tables:   vec(cat([]byte{0x70, 0}, leb(10))),
		Globals:  vec(cat([]byte{f64, 1}, cf64(2.5), []byte{0x0b})),
		Elements: vec(cat(leb(0), ci32(0), []byte{0x0b}, vec(leb(1)))),
		Code: vec(
			fn(vec(cat(leb(2), []byte{f64}), cat(leb(1), []byte{i32})), code...), // locals 3 and 4, and 5
			fn(nil, 0x20, leb(1), 0x20, leb(0), 0x20, leb(2), 0x45),              // reversed
			fn(nil, cf64(9)),
		),
	}
}

// TestSelects checks that every select gives the same result on every engine, and
// that those of floats and vectors are replaced.
func TestSelects(t *testing.T) {
	const quietNaN, signalling = 0x7ff8_0000_dead_beef, 0xfff0_0000_0000_0001 // their payloads must be kept
	wide := func(v uint64) []uint64 { return []uint64{v, ^v} }
	narrow := func(v uint64) []uint64 { return []uint64{v>>32 | v&1} }
	same := func(v uint64) []uint64 { return []uint64{v} }
	for _, c := range []struct {
		name     string
		module   asm.Module
		value    func(uint64) []uint64
		replaced int
	}{
		{"i32", selectOf(i32, false), narrow, 0},
		{"i64", selectOf(i64, false), same, 0},
		{"f32", selectOf(f32, false), narrow, 1},
		{"f64", selectOf(f64, false), same, 1},
		{"v128", selectOf(v128, false), wide, 1},
		{"i32, typed", selectOf(i32, true), narrow, 0},
		{"i64, typed", selectOf(i64, true), same, 0},
		{"f32, typed", selectOf(f32, true), narrow, 1},
		{"f64, typed", selectOf(f64, true), same, 1},
		{"v128, typed", selectOf(v128, true), wide, 1},
		{"externref, typed", selectOf(extern, true), same, 0},
		{"all types in turn", selecting(abc, 0x1b, 0x21, leb(3),
			0x20, leb(0), 0xbd, 0x20, leb(1), 0xbd, 0x20, leb(2), 0x1b, 0xbf, 0x20, leb(3), 0x20, leb(2), 0x1b, // i64 between
			0x20, leb(0), 0xbd, 0xa7, 0xbe, 0x20, leb(1), 0xbd, 0xa7, 0xbe, 0x20, leb(2), 0x1b, 0xbc, 0xad, 0xbf, 0x20, leb(2), 0x1b,
			0xfd, 20, 0x20, leb(0), 0xfd, 20, 0x20, leb(2), 0x1b, 0xfd, 33, 0), same, 6 /* one is the module's own 1b bf */},
		{"of selects", selecting(abc, 0x1b, abc, 0x1b, 0x20, leb(2), 0x1b, 0x20, leb(1), 0x20, leb(2), 0x45, 0x1b), same, 4},
		{"in a loop", selecting(0x03, 0x40, // ten times: x = (turn is odd ? b : a) + 3x, of the bits
			0x20, leb(1), 0x20, leb(0), 0x20, leb(5), ci32(1), 0x71, 0x1b, 0xbd, 0x20, leb(3), 0xbd, ci64(3), 0x7e, 0x7c, 0xbf, 0x21, leb(3),
			0x20, leb(5), ci32(1), 0x6a, 0x22, leb(5), ci32(10), 0x48, 0x0d, leb(0), 0x0b, 0x20, leb(3)), same, 1},
		{"parameters of a loop", selecting(abc, 0x03, leb(0), 0x1b, 0x0b), same, 1},
		{"parameters of a block", selecting(abc, 0x02, leb(0), 0x1b, 0x0b), same, 1},
		{"results of a block", selecting(abc, 0x02, leb(1), 0x0b, 0x1b), same, 1},
		{"results of an if", selecting(abc, ci32(1), 0x04, leb(1), 0x45, 0x05, 0x1b, 0x20, leb(0), ci32(1), 0x0b, 0x1b), same, 2},
		{"results of a branch", selecting(0x20, leb(0), 0x02, leb(2), 0x20, leb(1), 0x20, leb(0), 0x0c, leb(0), 0x0b, 0x20, leb(2), 0x1b), same, 1},
		{"results of br_if", selecting(0x02, f64, 0x20, leb(0), 0x20, leb(2), 0x0d, leb(0), 0x20, leb(1), 0x20, leb(2), 0x1b, 0x0b), same, 1},
		{"results of br_table", selecting(0x02, f64, 0x20, leb(0), 0x20, leb(2), 0x0e, vec(leb(0)), leb(1), 0x0b, 0x20, leb(1), 0x20, leb(2), 0x1b), same, 1},
		{"results of a call", selecting(abc, 0x10, leb(1), 0x1b), same, 1},
		{"results of an indirect call", selecting(abc, ci32(0), 0x11, leb(1), leb(0), 0x1b), same, 1},
		{"a global", selecting(0x23, leb(0), 0x20, leb(1), 0x24, leb(0), 0x23, leb(0), 0x20, leb(2), 0x1b), same, 1},
		{"a local that is set", selecting(0x20, leb(1), 0x22, leb(4), 0x20, leb(0), 0x21, leb(3), 0x20, leb(3), 0x20, leb(2), 0x22, leb(5), 0x1b), same, 1},
		{"references between", selecting(0x20, leb(0), ci32(0), 0x25, leb(0), 0xd1, 0x1a, 0xd2, leb(0), 0xd0, 0x70, 0x20, leb(2), 0x1c, vec([]byte{0x70}), 0xd1, 0x21, leb(5), 0x20, leb(1), 0x20, leb(5), 0x1b), same, 1},
		{"bulk between", selecting(0x20, leb(0), 0xd0, 0x70, ci32(1), 0xfc, leb(15), leb(0), 0x1a, ci32(1), 0x40, 0, 0x1a, ci32(0), ci32(1), ci32(2), 0xfc, leb(11), 0, 0x20, leb(1), 0x20, leb(2), 0x1b), same, 1},
		{"after an unreachable block", selecting(0x20, leb(2), 0x04, 0x40, 0x00, 0x02, f64, 0x00, 0x1b, 0x0b, 0x1a, 0x0b, abc, 0x1b), same, 1},
		{"else after an unreachable then", selecting(0x20, leb(2), 0x04, f64, 0x00, 0x05, abc, 0x1b, 0x0b), same, 1},
		{"if in unreachable code", selecting(0x02, 0x40, 0x0c, leb(0), 0x04, 0x40, 0x05, 0x03, 0x40, 0x0b, 0x0b, abc, 0x1b, 0x1a, 0x0b, abc, 0x1b), same, 1},
		{"nothing but unreachable", selecting(0x00, 0x1b), same, 0},
		{"unreachable, known types", selecting(0x20, leb(0), 0x0f, abc, 0x1b), same, 0},
		{"unreachable, typed", selecting(0x20, leb(0), 0x0f, 0x1c, vec([]byte{f64})), same, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			module := c.module.Bytes()
			out := rewrite(t, module)
			if got := replaced(out); got != c.replaced {
				t.Errorf("%d are replaced, want %d", got, c.replaced)
			}
			for _, values := range [][2]uint64{{0x3ff0000000000000, 0x4000000000000000}, {quietNaN, signalling}, {1 << 63, 0}} {
				for _, condition := range []uint64{0, 1, 1 << 31} {
					args := slices.Concat(c.value(values[0]), c.value(values[1]), []uint64{condition})
					want := run(t, wazero.NewRuntimeConfigInterpreter(), module, args...)
					for engine, config := range map[string]wazero.RuntimeConfig{"compiler": wazero.NewRuntimeConfig(), "interpreter": wazero.NewRuntimeConfigInterpreter()} {
						if got := run(t, config, out, args...); got != want {
							t.Errorf("%s(%x): %s, want %s", engine, args, got, want)
						}
					}
				}
			}
		})
	}
}

// TestPriceOfSelects checks that a replaced select costs as much as its replacement
// would if it were part of the original module.
func TestPriceOfSelects(t *testing.T) {
	spent := func(module asm.Module) int64 {
		b := &meter.Budget{Units: plenty}
		m, ctx := instance(t, rewrite(t, module.Bytes()), b)
		if _, err := m.ExportedFunction("run").Call(ctx); err != nil {
			t.Fatal(err)
		}
		return plenty - b.Units - int64(m.ExportedGlobal(meter.CounterExport).Get())
	}
	for _, c := range []struct {
		kind byte
		out  []any
	}{
		{i32, []any{0x1b}},
		{f32, []any{0x21, leb(1), 0xbc, 0x21, leb(2), 0xbc, 0x20, leb(2), 0x20, leb(1), 0x1b, 0xbe}},
		{f64, []any{0x21, leb(1), 0xbd, 0x21, leb(3), 0xbd, 0x20, leb(3), 0x20, leb(1), 0x1b, 0xbf}},
		{v128, []any{0x45, 0xad, ci64(1), 0x7d, 0xfd, 18, 0xfd, 82}},
	} {
		loop := func(choose ...any) asm.Module {
			code := append([]any{0x03, 0x40, zero[c.kind], zero[c.kind], zero[i32]}, choose...)
			return one(nil, nil, vec(cat(leb(3), []byte{i32}), cat(leb(1), []byte{i64})),
				append(code, 0x1a, 0x20, leb(0), ci32(1), 0x6a, 0x22, leb(0), ci32(10), 0x48, 0x0d, leb(0), 0x0b)...)
		}
		if got, want := spent(loop(0x1b)), spent(loop(c.out...)); got != want {
			t.Errorf("%#x: %d units, want %d", c.kind, got, want)
		}
	}
}
