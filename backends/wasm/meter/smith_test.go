package meter_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
)

// TestRandomModules checks that modules made by wasm-smith (testdata/make/smith)
// behave the same after rewriting: every export gives the same results or traps, and
// leaves the same memory and globals.
func TestRandomModules(t *testing.T) {
	modules := randomModules(t)
	calls := 0
	for name, module := range modules {
		want, n := behaviour(t, module)
		got, _ := behaviour(t, rewrite(t, module))
		calls += n
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if len(modules) < 200 || calls < 5*len(modules) {
		t.Errorf("only %d calls of %d modules", calls, len(modules))
	}
}

func randomModules(t testing.TB) map[string][]byte {
	t.Helper()
	z, err := zip.OpenReader("testdata/smith.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	out := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		if out[f.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
	}
	return out
}

// behaviour instantiates a module, calls every exported function with a few
// arguments, and returns what happened.
func behaviour(t *testing.T, module []byte) (seen []string, calls int) {
	t.Helper()
	ctx := meter.With(t.Context(), &meter.Budget{Units: plenty})
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig().WithMemoryLimitPages(64))
	defer r.Close(context.Background())
	if err := meter.Instantiate(ctx, r); err != nil {
		t.Fatal(err)
	}
	m, err := r.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		return []string{"instantiating: " + cause(err)}, 0
	}
	exports := m.ExportedFunctionDefinitions()
	names := make([]string, 0, len(exports))
	for name := range exports {
		if name != meter.KeepExport && name != meter.ResetExport {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, arg := range []uint64{0, 1, 0xffffffff, 0x7ff0000000000000} {
			args := make([]uint64, 0, 8)
			for _, p := range exports[name].ParamTypes() {
				a := arg
				if p == api.ValueTypeExternref || p == 0x70 {
					a = 0
				}
				if p == api.ValueTypeI32 || p == api.ValueTypeF32 {
					a &= 0xffffffff
				}
				args = append(args, a)
				if p == 0x7b { // a vector takes two
					args = append(args, a)
				}
			}
			got, err := m.ExportedFunction(name).Call(ctx, args...)
			calls++
			for i, k := range exports[name].ResultTypes() {
				if k == 0x70 && i < len(got) && got[i] != 0 {
					got[i] = 1 // a function reference is an address
				}
			}
			seen = append(seen, fmt.Sprintf("%s(%x): %x %s", name, arg, got, cause(err)))
		}
	}
	if len(m.ExportedMemoryDefinitions()) > 0 {
		memory := m.Memory()
		view, _ := memory.Read(0, memory.Size())
		seen = append(seen, fmt.Sprintf("memory %d %x", memory.Size(), sha256.Sum256(bytes.Clone(view))))
	}
	for i := range 50 {
		if g := m.ExportedGlobal(fmt.Sprint(i)); g != nil && g.Type() != 0x70 {
			seen = append(seen, fmt.Sprintf("global %d: %x", i, g.Get()))
		}
	}
	return seen, calls
}

// cause returns the first line of an error. The rest is a stack trace, which
// differs.
func cause(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	if _, kind, ok := strings.Cut(line, "wasm error: "); ok {
		return kind // the text before names a function by its index, which has changed
	}
	return line
}
