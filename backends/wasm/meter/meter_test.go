package meter_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/asm"
)

func rewrite(t testing.TB, module []byte) []byte {
	t.Helper()
	out, err := meter.Rewrite(module, meter.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// instance runs a module in its own runtime.
func instance(t testing.TB, module []byte, b *meter.Budget) (api.Module, context.Context) {
	t.Helper()
	ctx := meter.With(t.Context(), b)
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(256))
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	if err := meter.Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	m, err := r.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	return m, ctx
}

// Short names for writing modules.
var (
	leb, vec, cat, text, fn, sig, export, one = asm.U, asm.Vec, asm.Cat, asm.Text, asm.Func, asm.Sig, asm.Export, asm.One
	ci32, ci64, cf64                          = asm.I32Const, asm.I64Const, asm.F64Const
)

const (
	i32 = asm.I32
	i64 = asm.I64
	f64 = asm.F64
)

const plenty = math.MaxInt64 / 2

// fib returns a module with the recursive Fibonacci function.
func fib() asm.Module {
	return one([]byte{i32}, []byte{i32}, nil,
		0x20, leb(0), ci32(2), 0x48, 0x04, i32, // if n < 2
		0x20, leb(0), 0x05,
		0x20, leb(0), ci32(1), 0x6b, 0x10, leb(0), 0x20, leb(0), ci32(2), 0x6b, 0x10, leb(0), 0x6a, 0x0b)
}

// sum returns a module that adds the numbers below n in a loop.
func sum() asm.Module {
	return one([]byte{i32}, []byte{i32}, vec(cat(leb(2), []byte{i32})),
		0x03, 0x40, 0x20, leb(1), 0x20, leb(2), 0x6a, 0x21, leb(1), 0x20, leb(2), ci32(1), 0x6a, 0x22, leb(2), 0x20, leb(0), 0x48, 0x0d, leb(0), 0x0b, 0x20, leb(1))
}

func endless() asm.Module { return one(nil, nil, nil, 0x03, 0x40, 0x0c, leb(0), 0x0b) }

func TestResultsStayTheSame(t *testing.T) {
	for _, c := range []struct {
		name   string
		module asm.Module
		arg    uint64
		want   uint64
	}{
		{"recursion", fib(), 20, 6765},
		{"loop", sum(), 1000, 499500},
		{"nothing", one([]byte{i32}, []byte{i32}, nil, 0x20, leb(0)), 7, 7},
	} {
		b := &meter.Budget{Units: plenty}
		m, ctx := instance(t, rewrite(t, c.module.Bytes()), b)
		got, err := m.ExportedFunction("run").Call(ctx, c.arg)
		if err != nil || got[0] != c.want {
			t.Errorf("%s: %v, %v, want %d", c.name, got, err, c.want)
		}
		if b.Slices == 0 || plenty-b.Units < meter.Slice {
			t.Errorf("%s: %d slices: nothing was paid", c.name, b.Slices)
		}
	}
}

// TestPricesAreOfRegions checks that twice the iterations cost twice as much, and
// that a long body costs more than a short one: a fixed price per iteration would be
// unsound.
func TestPricesAreOfRegions(t *testing.T) {
	spent := func(m asm.Module, n uint64) int64 {
		b := &meter.Budget{Units: plenty}
		i, ctx := instance(t, rewrite(t, m.Bytes()), b)
		if _, err := i.ExportedFunction("run").Call(ctx, n); err != nil {
			t.Fatal(err)
		}
		return plenty - b.Units
	}
	if a, b := spent(sum(), 1_000_000), spent(sum(), 2_000_000); float64(b) < 1.9*float64(a) || float64(b) > 2.1*float64(a) {
		t.Errorf("a million iterations cost %d, two million %d", a, b)
	}
	var divisions []any
	for range 1000 {
		divisions = append(divisions, ci32(7), ci32(3), 0x6d, 0x1a)
	}
	loop := func(body ...any) asm.Module {
		code := append([]any{0x03, 0x40}, body...)
		return one([]byte{i32}, nil, vec(cat(leb(1), []byte{i32})),
			append(code, 0x20, leb(1), ci32(1), 0x6a, 0x22, leb(1), 0x20, leb(0), 0x48, 0x0d, leb(0), 0x0b)...)
	}
	if a, b := spent(loop(), 10_000), spent(loop(divisions...), 10_000); b < 100*a {
		t.Errorf("an empty iteration costs %d, one with a thousand divisions %d", a/10_000, b/10_000)
	}
}

func TestEndlessEnds(t *testing.T) {
	recursion := one(nil, nil, nil, 0x10, leb(0))
	exponential := one([]byte{i32}, []byte{i32}, nil, 0x20, leb(0), 0x45, 0x04, i32, ci32(1), 0x05,
		0x20, leb(0), ci32(1), 0x6b, 0x10, leb(0), 0x20, leb(0), ci32(1), 0x6b, 0x10, leb(0), 0x6a, 0x0b)
	fill := one(nil, nil, nil, 0x03, 0x40, ci32(0), ci32(1), ci32(65536), 0xfc, leb(11), 0, 0x0c, leb(0), 0x0b)
	grow := one(nil, nil, nil, 0x03, 0x40, ci32(1), 0x40, 0, 0x1a, 0x0c, leb(0), 0x0b)
	tableGrow := asm.Module{
		Types: vec(sig(nil, nil)), Functions: vec(leb(0)), Tables: vec(cat([]byte{0x70, 0}, leb(1))), Exports: vec(export("run", 0, 0)),
		Code: vec(fn(nil, 0x03, 0x40, 0xd0, 0x70, ci32(100000000), 0xfc, leb(15), leb(0), 0x1a, 0xd0, 0x70, ci32(1), 0xfc, leb(15), leb(0), 0x1a, 0x0c, leb(0), 0x0b)),
	}
	for _, c := range []struct {
		name   string
		module asm.Module
		args   []uint64
		stack  bool // may overflow the stack instead
	}{
		{"loop", endless(), nil, false}, {"recursion", recursion, nil, true}, {"exponential recursion", exponential, []uint64{1000}, true},
		{"fill", fill, nil, false}, {"memory.grow", grow, nil, false}, {"table.grow", tableGrow, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, ctx := instance(t, rewrite(t, c.module.Bytes()), &meter.Budget{Units: plenty})
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			_, err := m.ExportedFunction("run").Call(ctx, c.args...)
			if !errors.Is(err, context.DeadlineExceeded) && (!c.stack || err == nil || !strings.Contains(err.Error(), "stack overflow")) {
				t.Errorf("ended with %v", err)
			}
		})
	}
	t.Run("budget", func(t *testing.T) {
		m, ctx := instance(t, rewrite(t, endless().Bytes()), &meter.Budget{Units: 1 << 20})
		if _, err := m.ExportedFunction("run").Call(ctx); !errors.Is(err, meter.ErrBudget) {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("start", func(t *testing.T) {
		b := endless()
		b.Start = leb(0)
		ctx, cancel := context.WithTimeout(meter.With(t.Context(), &meter.Budget{Units: plenty}), 50*time.Millisecond)
		defer cancel()
		r := wazero.NewRuntime(ctx)
		defer r.Close(context.Background())
		if err := meter.Instantiate(ctx, r); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Instantiate(ctx, rewrite(t, b.Bytes())); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestBulkOverPieces checks that fills and copies in pieces, even overlapping ones,
// change the memory as one instruction would.
func TestBulkOverPieces(t *testing.T) {
	const pages = 80 // 5 MiB: several pieces
	bulk := func(op byte) asm.Module {
		b := one([]byte{i32, i32, i32}, nil, nil, 0x20, leb(0), 0x20, leb(1), 0x20, leb(2), 0xfc, leb(uint64(op)), map[byte][]byte{10: {0, 0}, 11: {0}}[op])
		b.Memory = vec(cat([]byte{1}, leb(pages), leb(pages)))
		return b
	}
	for _, c := range []struct {
		name                string
		op                  byte
		destination, source uint64
		length              uint64
	}{
		{"fill", 11, 100, 7, 3<<20 + 5}, {"short fill", 11, 5, 9, 10}, {"empty fill at the end", 11, pages << 16, 1, 0}, {"fill beyond", 11, 4 << 20, 1, 2 << 20}, {"fill far beyond", 11, 100, 1, 0xffffffff},
		{"copy up", 10, 1<<20 + 13, 7, 3<<20 + 3}, {"copy down", 10, 7, 1<<20 + 13, 3<<20 + 3}, {"copy onto itself", 10, 50, 50, 2 << 20},
		{"copy one byte up", 10, 1, 0, 4 << 20}, {"copy one byte down", 10, 0, 1, 4 << 20}, {"copy from beyond", 10, 0, 4 << 20, 2 << 20}, {"copy to beyond", 10, 4 << 20, 0, 2 << 20}, {"exactly a piece", 10, 3 << 20, 0, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			var memories [2][]byte
			var failed [2]bool
			for k, module := range [][]byte{bulk(c.op).Bytes(), rewrite(t, bulk(c.op).Bytes())} {
				m, ctx := instance(t, module, &meter.Budget{Units: plenty})
				for at := uint32(0); at < pages<<16; at += 8 {
					m.Memory().WriteUint64Le(at, uint64(at)*0x9e3779b97f4a7c15)
				}
				_, err := m.ExportedFunction("run").Call(ctx, c.destination, c.source, c.length)
				failed[k] = err != nil
				view, _ := m.Memory().Read(0, pages<<16)
				memories[k] = bytes.Clone(view)
			}
			if failed[0] != failed[1] || !bytes.Equal(memories[0], memories[1]) {
				t.Errorf("failed %v; memories agree: %v", failed, bytes.Equal(memories[0], memories[1]))
			}
		})
	}
}

// TestRefusals checks that the rewriter refuses what it does not understand, and
// that its additions make no invalid module valid.
func TestRefusals(t *testing.T) {
	limits := meter.DefaultLimits()
	limits.Bytes, limits.Functions, limits.Locals, limits.LocalBlocks, limits.TableEntries = 1<<20, 100, 500, 5000, 1000
	base := func(code ...any) []byte { return one(nil, nil, nil, code...).Bytes() }
	with := func(change func(*asm.Module)) []byte { b := fib(); change(&b); return b.Bytes() }
	var nest []any
	for range 100 {
		nest = append(nest, 0x02, 0x40)
	}
	for range 100 {
		nest = append(nest, 0x0b)
	}
	manyFunctions := make([][]byte, 101)
	for i := range manyFunctions {
		manyFunctions[i] = leb(0)
	}
	for name, c := range map[string]struct {
		module []byte
		want   string
	}{
		"empty":                    {nil, "does not begin"},
		"component":                {[]byte("\x00asm\x0d\x00\x01\x00"), "does not begin"},
		"too large":                {make([]byte, 2<<20), "at most 1048576"},
		"cut short":                {fib().Bytes()[:40], "cut short"},
		"name of 1.2 GB":           {append([]byte("\x00asm\x01\x00\x00\x00\x00\x08"), leb(1_200_000_000)...), "cut short"},
		"sections out of order":    {append(fib().Bytes(), 1, 1, 0), "out of order"},
		"unknown section":          {append(fib().Bytes(), 14, 1, 0), "not known"},
		"added function":           {base(0x10, leb(1)), "function 1 does not exist"},
		"added global":             {base(0x23, leb(0), 0x1a), "global 0 does not exist"},
		"set of the counter":       {base(ci64(5), 0x24, leb(0)), "global 0 does not exist"},
		"added local":              {base(0x20, leb(0), 0x1a), "local 0 does not exist"},
		"added type of a block":    {base(0x02, leb(1), 0x0b), "type 1 does not exist"},
		"added type of a call":     {base(ci32(0), 0x11, leb(1), leb(0)), "type 1 does not exist"},
		"branch out of the body":   {base(0x0c, leb(1)), "leaves the function"},
		"branch table out":         {base(ci32(0), 0x0e, vec(leb(0), leb(9)), leb(0)), "leaves the function"},
		"long SIMD opcode":         {base(0xfd, 0x80, 0x41, 0x07, 0x1a), "shortest form"},
		"select of a typed func":   {base(0xd0, 0x70, 0xd0, 0x70, ci32(0), 0x1c, vec([]byte{0x63, 0x70}), 0x1a), "not known"},
		"select of two":            {base(0x1c, vec([]byte{i32}, []byte{i32})), "select"},
		"atomic":                   {base(0xfe, 0x03, 0x00), "instruction 0xfe is not known"},
		"tail call":                {base(0x12, leb(0)), "instruction 0x12 is not known"},
		"second memory":            {base(0x3f, 1, 0x1a), "more than one memory"},
		"number of 6 bytes":        {base(0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 0x1a), "longer than 32 bits"},
		"imported memory":          {with(func(b *asm.Module) { b.Imports = vec(cat(text("env"), text("memory"), []byte{2, 0, 1})) }), "not a function"},
		"import from the meter":    {with(func(b *asm.Module) { b.Imports = vec(cat(text(meter.ImportModule), text("x"), []byte{0, 0})) }), "reserved"},
		"export of the counter":    {with(func(b *asm.Module) { b.Exports = vec(export(meter.CounterExport, 0, 0)) }), "reserved"},
		"export of the added":      {with(func(b *asm.Module) { b.Exports = vec(export("x", 0, 1)) }), "function 1 does not exist"},
		"export of the new global": {with(func(b *asm.Module) { b.Exports = vec(export("x", 3, 0)) }), "global 0 does not exist"},
		"start is added":           {with(func(b *asm.Module) { b.Start = leb(1) }), "function 1 does not exist"},
		"type out of range":        {with(func(b *asm.Module) { b.Functions = vec(leb(1)) }), "type that does not exist"},
		"huge type index":          {with(func(b *asm.Module) { b.Functions = vec(leb(1<<32 - 1)) }), "type that does not exist"},
		"no code":                  {with(func(b *asm.Module) { b.Code = nil }), "1 functions and 0 bodies"},
		"large table":              {with(func(b *asm.Module) { b.Tables = vec(cat([]byte{0x70, 0}, leb(1001))) }), "at most 1000"},
		"table upside down":        {with(func(b *asm.Module) { b.Tables = vec(cat([]byte{0x70, 1}, leb(10), leb(5))) }), "below its minimum"},
		"shared memory flag table": {with(func(b *asm.Module) { b.Tables = vec(cat([]byte{0x70, 3}, leb(1), leb(1))) }), "limits of kind 3"},
		"elements of the added": {with(func(b *asm.Module) {
			b.Tables = vec([]byte{0x70, 0, 1})
			b.Elements = vec(cat(leb(0), ci32(0), []byte{0x0b}, vec(leb(1))))
		}), "function 1 does not exist"},
		"global from the counter":   {with(func(b *asm.Module) { b.Globals = vec([]byte{i64, 0, 0x23, 1, 0x0b}) }), "global 1 does not exist"},
		"too many functions":        {with(func(b *asm.Module) { b.Functions = vec(manyFunctions...) }), "at most 100"},
		"too many locals":           {one(nil, nil, vec(cat(leb(501), []byte{i32}))).Bytes(), "at most 500"},
		"2^32 locals":               {one(nil, nil, vec(cat(leb(1<<32-1), []byte{i32}), cat(leb(1<<32-1), []byte{i32}))).Bytes(), "at most 500"},
		"many locals, many blocks":  {one(nil, nil, vec(cat(leb(400), []byte{i32})), nest...).Bytes(), "their product"},
		"custom name not UTF-8":     {with(func(b *asm.Module) { b.Custom = [][]byte{{1, 0xff}} }), "not UTF-8"},
		"bytes after the last type": {with(func(b *asm.Module) { b.Types = append(b.Types, 0) }), "left over"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := meter.Rewrite(c.module, limits)
			if !errors.Is(err, meter.ErrModule) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestTablesAreBounded checks that a table without a maximum gets one.
func TestTablesAreBounded(t *testing.T) {
	b := asm.Module{
		Types: vec(sig([]byte{i32}, []byte{i32})), Functions: vec(leb(0)), Tables: vec(cat([]byte{0x70, 0}, leb(10))), Exports: vec(export("run", 0, 0)),
		Code: vec(fn(nil, 0xd0, 0x70, 0x20, leb(0), 0xfc, leb(15), leb(0))),
	}
	m, ctx := instance(t, rewrite(t, b.Bytes()), &meter.Budget{Units: plenty})
	for _, c := range []struct{ by, want uint32 }{{10, 10}, {1 << 16, math.MaxUint32}, {1<<16 - 20, 20}, {1, math.MaxUint32}} {
		got, err := m.ExportedFunction("run").Call(ctx, uint64(c.by))
		if err != nil || uint32(got[0]) != c.want {
			t.Errorf("growing by %d returns %v, %v, want %d", c.by, got, err, c.want)
		}
	}
}

// TestFloats checks that values of other types pass through unchanged.
func TestFloats(t *testing.T) {
	b := one([]byte{f64}, []byte{f64}, vec(cat(leb(1), []byte{f64})), 0x20, leb(0), cf64(0.5), 0xa2, 0x9f, 0x22, leb(1), 0x20, leb(1), 0xa0)
	m, ctx := instance(t, rewrite(t, b.Bytes()), &meter.Budget{Units: plenty})
	got, err := m.ExportedFunction("run").Call(ctx, api.EncodeF64(8))
	if err != nil || api.DecodeF64(got[0]) != 4 {
		t.Errorf("%v, %v", got, err)
	}
}

func ExampleRewrite() {
	_, err := meter.Rewrite([]byte("not a module"), meter.DefaultLimits())
	if errors.Is(err, meter.ErrModule) {
		_, _ = os.Stdout.WriteString(err.Error() + "\n")
	}
	// Output: not a module that can be metered: it does not begin like a WebAssembly module of version 1
}
