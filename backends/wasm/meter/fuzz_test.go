package meter_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/asm"
)

// FuzzRewrite checks that rewriting ends for all bytes. The rewritten form of a
// valid module must be valid and have the same imports and exports; that of an
// invalid one must be invalid.
func FuzzRewrite(f *testing.F) {
	for _, b := range []asm.Module{fib(), sum(), endless(), selectOf(f32, false), selectOf(v128, true), selecting(abc, 0x02, leb(1), 0x0b, 0x1b)} {
		f.Add(b.Bytes())
	}
	for _, module := range randomModules(f) {
		f.Add(module)
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(16))
	f.Cleanup(func() { _ = r.Close(ctx) })
	limits := meter.DefaultLimits()
	limits.Bytes, limits.LocalBlocks, limits.Locals = 1<<16, 100_000, 1000
	f.Fuzz(func(t *testing.T, module []byte) {
		out, err := meter.Rewrite(module, limits)
		if err != nil {
			if !errors.Is(err, meter.ErrModule) {
				t.Fatal(err)
			}
			return
		}
		// wazero reads custom sections in its own way and they are dropped, so
		// compare without.
		before, wasValid := reading(ctx, r, withoutCustom(module))
		after, isValid := reading(ctx, r, out)
		if wasValid != isValid {
			t.Errorf("valid before: %v, after: %v", wasValid, isValid)
		}
		if !slices.Equal(before, after) {
			t.Errorf("the engine reads\n%q before and\n%q after", before, after)
		}
	})
}

// withoutCustom removes the custom sections of a module with well-formed sections.
func withoutCustom(module []byte) []byte {
	out := bytes.Clone(module[:8])
	for rest := module[8:]; len(rest) > 0; {
		size, n := binary.Uvarint(rest[1:])
		whole := 1 + n + int(size)
		if rest[0] != 0 {
			out = append(out, rest[:whole]...)
		}
		rest = rest[whole:]
	}
	return out
}

// reading returns the imports and exports that the engine reads from a module, with
// their types and without additions. The engine panics on some modules; these are
// invalid.
func reading(ctx context.Context, r wazero.Runtime, module []byte) (seen []string, ok bool) {
	defer func() {
		if recover() != nil {
			seen, ok = nil, false
		}
	}()
	m, err := r.CompileModule(ctx, module)
	if err != nil {
		return nil, false
	}
	for _, f := range m.ImportedFunctions() {
		if from, name, _ := f.Import(); from != meter.ImportModule {
			seen = append(seen, fmt.Sprintf("import %q %q %v %v", from, name, f.ParamTypes(), f.ResultTypes()))
		}
	}
	exports := []string{}
	for name, f := range m.ExportedFunctions() {
		if name != meter.KeepExport && name != meter.ResetExport {
			exports = append(exports, fmt.Sprintf("export %q %v %v", name, f.ParamTypes(), f.ResultTypes()))
		}
	}
	for name, y := range m.ExportedMemories() {
		most, bounded := y.Max()
		exports = append(exports, fmt.Sprintf("memory %q %d %d %v", name, y.Min(), most, bounded))
	}
	slices.Sort(exports)
	_ = m.Close(ctx)
	return append(seen, exports...), true
}

// valid reports whether the engine accepts the module.
func valid(ctx context.Context, r wazero.Runtime, module []byte) bool {
	_, ok := reading(ctx, r, module)
	return ok
}
