package meter_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/asm"
)

// padded returns a LEB128 number of one byte in five bytes, as linkers write it.
func padded(v byte) []byte { return []byte{v | 0x80, 0x80, 0x80, 0x80, 0} }

// TestWrittenAnew checks that the output does not depend on how numbers are encoded,
// on custom sections or on empty groups of locals: the engine reads only the
// rewriter's own encoding.
func TestWrittenAnew(t *testing.T) {
	short := asm.Module{
		Types: vec(sig(nil, nil)), Functions: vec(leb(0)), Tables: vec(cat([]byte{0x70, 0}, leb(1))), Memory: vec([]byte{1, 1, 2}),
		Globals: vec(cat([]byte{i32, 1}, ci32(0), []byte{0x0b})), Exports: vec(export("run", 0, 0), export("m", 2, 0)), Start: leb(0),
		Elements: vec(cat(leb(0), ci32(0), []byte{0x0b}, vec(leb(0)))), Count: leb(1),
		Code: vec(fn(vec(cat(leb(3), []byte{i32})), ci32(8), 0x28, leb(2), leb(4), 0x24, leb(0), ci32(0), 0x0e, vec(leb(0)), leb(0))),
		Data: vec(cat(leb(0), ci32(1), []byte{0x0b}, text("data"))),
	}
	long := asm.Module{
		Types: cat(padded(1), sig(nil, nil)), Functions: cat(padded(1), padded(0)), Tables: cat(padded(1), []byte{0x70, 0}, padded(1)), Memory: cat(padded(1), []byte{1}, padded(1), padded(2)),
		Globals: cat(padded(1), []byte{i32, 1, 0x41}, padded(0), []byte{0x0b}), Exports: cat(padded(2), padded(3), []byte("run"), []byte{0}, padded(0), text("m"), []byte{2}, padded(0)), Start: padded(0),
		Elements: cat(padded(1), padded(0), []byte{0x41}, padded(0), []byte{0x0b}, padded(1), padded(0)), Count: padded(1),
		Code: vec(fn(cat(padded(2), padded(0), []byte{f64}, padded(3), []byte{i32}),
			0x41, padded(8), 0x28, padded(2), padded(4), 0x24, padded(0), 0x41, padded(0), 0x0e, padded(1), padded(0), padded(0))),
		Data:   cat(padded(1), padded(2), padded(0), []byte{0x41}, padded(1), []byte{0x0b}, padded(4), []byte("data")),
		Custom: [][]byte{append(text("name"), 1, 2, 3)},
	}
	long.Imports = padded(0)
	a, b := rewrite(t, short.Bytes()), rewrite(t, long.Bytes())
	if !bytes.Equal(a, b) {
		t.Errorf("encoded differently:\n%x\n%x", a, b)
	}
	instance(t, b, &meter.Budget{Units: plenty})
}

// TestSectionRefusals checks that every number in a module that determines the
// engine's work is bounded, and that malformed sections are refused.
func TestSectionRefusals(t *testing.T) {
	limits := meter.Limits{
		Bytes: 1 << 20, Code: 4000, Functions: 100, FunctionBytes: 1000, Locals: 100, AllLocals: 150, LocalBlocks: 5000, Depth: 20, Values: 60, AllValues: 100,
		Globals: 10, TableEntries: 100, Tables: 2, Types: 10, TypeValues: 20, AllTypeValues: 50, Imports: 3, Exports: 5, NameBytes: 50, Segments: 4, Elements: 10,
	}
	with := func(change func(*asm.Module)) []byte {
		m := fib()
		m.Memory = vec([]byte{0, 1})
		m.Tables = vec([]byte{0x70, 0, 5})
		change(&m)
		return m.Bytes()
	}
	body := func(code ...any) []byte { return with(func(m *asm.Module) { m.Code = vec(fn(nil, code...)) }) }
	many := func(n int, item []byte) []byte { return vec(slices.Repeat([][]byte{item}, n)...) }
	kinds := func(n int) []byte { return slices.Repeat([]byte{i32}, n) }
	functions := func(n int, f []byte) []byte {
		return with(func(m *asm.Module) { m.Functions, m.Code = many(n, leb(0)), many(n, f) })
	}
	passing := with(func(m *asm.Module) {
		m.Types = vec(sig(nil, nil), sig(kinds(20), kinds(10)))
		m.Functions, m.Code = many(4, leb(0)), many(4, fn(nil, ci32(0), 0x11, leb(1), leb(0)))
	})
	active := cat(leb(0), ci32(0), []byte{0x0b})
	for name, c := range map[string]struct {
		module []byte
		want   string
	}{
		"parameters":                 {with(func(m *asm.Module) { m.Types = vec(sig(kinds(21), nil)) }), "21 values of a type; at most 20"},
		"results":                    {with(func(m *asm.Module) { m.Types = vec(sig(nil, kinds(21))) }), "21 values of a type; at most 20"},
		"parameters of all types":    {with(func(m *asm.Module) { m.Types = many(3, sig(kinds(20), nil)) }), "more than 50 parameters and results"},
		"imports":                    {with(func(m *asm.Module) { m.Imports = many(4, cat(text("a"), text("b"), []byte{0, 0})) }), "4 imports; at most 3"},
		"names of imports":           {with(func(m *asm.Module) { m.Imports = vec(cat(text(strings.Repeat("a", 51)), text("b"), []byte{0, 0})) }), "more than 50 bytes"},
		"names of exports":           {with(func(m *asm.Module) { m.Exports = vec(export(strings.Repeat("a", 51), 0, 0)) }), "more than 50 bytes"},
		"a name that is not UTF-8":   {with(func(m *asm.Module) { m.Exports = vec(export("\xff", 0, 0)) }), "not UTF-8"},
		"one name twice":             {with(func(m *asm.Module) { m.Exports = vec(export("a", 0, 0), export("a", 0, 0)) }), "used twice"},
		"export of a kind":           {with(func(m *asm.Module) { m.Exports = vec(export("a", 4, 0)) }), "kind 4 is not known"},
		"export of a table":          {with(func(m *asm.Module) { m.Exports = vec(export("a", 1, 1)) }), "table 1 does not exist"},
		"export of a memory":         {with(func(m *asm.Module) { m.Exports = vec(export("a", 2, 1)) }), "memory 1 does not exist"},
		"reserved name of keep":      {with(func(m *asm.Module) { m.Exports = vec(export(meter.KeepExport, 0, 0)) }), "reserved"},
		"reserved name of reset":     {with(func(m *asm.Module) { m.Exports = vec(export(meter.ResetExport, 0, 0)) }), "reserved"},
		"two memories":               {with(func(m *asm.Module) { m.Memory = vec([]byte{0, 1}, []byte{0, 1}) }), "2 memories; at most 1"},
		"a memory upside down":       {with(func(m *asm.Module) { m.Memory = vec([]byte{1, 2, 1}) }), "a memory of 2 to 1 pages"},
		"a memory beyond 4 GiB":      {with(func(m *asm.Module) { m.Memory = vec(cat([]byte{0}, leb(1<<16+1))) }), "a memory of 65537"},
		"a shared memory":            {with(func(m *asm.Module) { m.Memory = vec([]byte{3, 1, 1}) }), "limits of kind 3"},
		"bytes after the memory":     {with(func(m *asm.Module) { m.Memory = append(vec([]byte{0, 1}), 0) }), "left over"},
		"bytes after the data count": {with(func(m *asm.Module) { m.Count = []byte{0, 0} }), "left over"},
		"another data count":         {with(func(m *asm.Module) { m.Count = leb(1) }), "0 data segments and counts 1"},
		"globals":                    {with(func(m *asm.Module) { m.Globals = many(11, cat([]byte{i32, 0}, ci32(0), []byte{0x0b})) }), "11 globals; at most 10"},
		"a global of a kind":         {with(func(m *asm.Module) { m.Globals = vec(cat([]byte{i32, 2}, ci32(0), []byte{0x0b})) }), "global of kind 2"},
		"a global from itself":       {with(func(m *asm.Module) { m.Globals = vec([]byte{i32, 0, 0x23, 0, 0x0b}) }), "global 0 does not exist"},
		"a long constant":            {with(func(m *asm.Module) { m.Globals = vec(cat([]byte{i32, 0}, ci32(0), ci32(0), []byte{0x0b})) }), "more than one instruction"},
		"a constant of nothing":      {with(func(m *asm.Module) { m.Globals = vec([]byte{i32, 0, 0x0b}) }), "constant expression"},
		"a constant that calls":      {with(func(m *asm.Module) { m.Globals = vec([]byte{i32, 0, 0x10, 0, 0x0b}) }), "constant expression"},
		"passive elements":           {with(func(m *asm.Module) { m.Elements = vec(cat(leb(1), []byte{0}, many(11, leb(0)))) }), "11 elements"},
		"declared elements":          {with(func(m *asm.Module) { m.Elements = vec(cat(leb(3), []byte{0}, many(11, leb(0)))) }), "11 elements"},
		"elements of expressions":    {with(func(m *asm.Module) { m.Elements = vec(cat(leb(5), []byte{0x70}, many(11, []byte{0xd0, 0x70, 0x0b}))) }), "11 elements"},
		"elements of all segments":   {with(func(m *asm.Module) { m.Elements = many(2, cat(leb(1), []byte{0}, many(6, leb(0)))) }), "6 elements beyond those of earlier segments; at most 4"},
		"segments of elements":       {with(func(m *asm.Module) { m.Elements = many(5, cat(leb(1), []byte{0}, vec())) }), "5 element segments; at most 4"},
		"elements of a table":        {with(func(m *asm.Module) { m.Elements = vec(cat(leb(2), leb(1), ci32(0), []byte{0x0b, 0}, vec())) }), "table 1 does not exist"},
		"segments of data":           {with(func(m *asm.Module) { m.Data = many(5, cat(active, text("x"))) }), "5 data segments; at most 4"},
		"data of a second memory":    {with(func(m *asm.Module) { m.Data = vec(cat(leb(2), leb(1), ci32(0), []byte{0x0b}, text("x"))) }), "more than one memory"},
		"data without a memory":      {with(func(m *asm.Module) { m.Memory, m.Exports, m.Data = nil, vec(), vec(cat(active, text("x"))) }), "data without a memory"},
		"size of no memory":          {with(func(m *asm.Module) { m.Memory, m.Exports, m.Code = nil, vec(), vec(fn(nil, 0x3f, 0)) }), "there is no memory"},
		"locals of all functions":    {functions(2, fn(vec(cat(leb(80), []byte{i32})), 0x20, leb(0))), "more than 150 locals"},
		"metered code":               {functions(100, fn(nil, 0x03, 0x40, 0x0b, 0x20, leb(0))), "more than 4000 bytes"},
		"depth":                      {body(slices.Concat(slices.Repeat([]any{0x02, 0x40}, 21), slices.Repeat([]any{0x0b}, 21))...), "nested more than 20 deep"},
		"values of one function": {with(func(m *asm.Module) {
			m.Types = vec(sig(kinds(16), kinds(16)))
			m.Code = vec(fn(nil, 0x10, leb(0), 0x10, leb(0)))
		}), "a function pass more than 60 values"},
		"values of all functions":    {passing, "branches pass more than 100 values"},
		"values of a long br_table":  {body(0x02, i32, ci32(0), ci32(0), 0x0e, many(70, leb(0)), leb(0), 0x0b), "pass more than 60 values"},
		"bits beyond 32":             {body(0x41, []byte{0x80, 0x80, 0x80, 0x80, 0x10}), "does not fit in 32 bits"},
		"sign bits that differ":      {body(0x41, []byte{0xff, 0xff, 0xff, 0xff, 0x4f}), "does not fit in 32 bits"},
		"bits beyond 64":             {body(0x42, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}), "does not fit in 64 bits"},
		"bits beyond 32 of an index": {body(0x20, []byte{0x80, 0x80, 0x80, 0x80, 0x10}), "does not fit in 32 bits"},
		"a section twice":            {append(fib().Bytes(), 10, 1, 0), "out of order"},
		"bytes after the module":     {append(fib().Bytes(), 0), "cut short"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := meter.Rewrite(c.module, limits)
			if !errors.Is(err, meter.ErrModule) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := meter.Rewrite(with(func(*asm.Module) {}), limits); err != nil {
		t.Errorf("within all limits: %v", err)
	}
}
