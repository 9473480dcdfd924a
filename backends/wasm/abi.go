package wasm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
)

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

// signature is the type of a function.
type signature struct{ params, results []api.ValueType }

func (s signature) String() string {
	names := func(types []api.ValueType) string {
		out := make([]string, len(types))
		for i, t := range types {
			out[i] = api.ValueTypeName(t)
		}
		return strings.Join(out, ", ")
	}
	return "(" + names(s.params) + ") -> (" + names(s.results) + ")"
}

func signatureOf(d api.FunctionDefinition) signature {
	return signature{d.ParamTypes(), d.ResultTypes()}
}

func (s signature) equal(t signature) bool {
	return slices.Equal(s.params, t.params) && slices.Equal(s.results, t.results)
}

// The exports of ABI version 1.
const (
	exportMemory    = "memory"
	exportMarker    = "pynomaly_abi_v1"
	exportAlloc     = "pynomaly_alloc"
	exportFree      = "pynomaly_free"
	exportDescribe  = "pynomaly_describe"
	exportInit      = "pynomaly_init"
	exportScore     = "pynomaly_score"
	exportLastError = "pynomaly_last_error"
	exportExplain   = "pynomaly_explain"
	exportLearn     = "pynomaly_learn"
	exportSave      = "pynomaly_save"
	exportLoad      = "pynomaly_load"
	exportStart     = "_initialize"

	// Exports that the meter adds.
	exportKeep  = meter.KeepExport
	exportReset = meter.ResetExport
)

// exports lists the functions of the ABI. The optional ones may be missing.
var exports = []struct {
	name     string
	optional bool
	signature
}{
	{exportMarker, false, signature{}},
	{exportAlloc, false, signature{[]api.ValueType{i32}, []api.ValueType{i32}}},
	{exportFree, false, signature{[]api.ValueType{i32, i32}, nil}},
	{exportDescribe, false, signature{nil, []api.ValueType{i64}}},
	{exportInit, false, signature{[]api.ValueType{i32, i32}, []api.ValueType{i32}}},
	{exportScore, false, signature{[]api.ValueType{i32, i32, i32, i32}, []api.ValueType{i32}}},
	{exportLastError, false, signature{nil, []api.ValueType{i64}}},
	{exportExplain, true, signature{[]api.ValueType{i32, i32, i32, i32}, []api.ValueType{i32}}},
	{exportLearn, true, signature{[]api.ValueType{i32, i32, i32}, []api.ValueType{i32}}},
	{exportSave, true, signature{nil, []api.ValueType{i64}}},
	{exportLoad, true, signature{[]api.ValueType{i32, i32}, []api.ValueType{i32}}},
	{exportStart, true, signature{}},
}

// checkABI returns an error that names every export and import that violates the
// ABI.
func checkABI(m wazero.CompiledModule) error {
	var errs []error
	problem := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := m.ExportedMemories()[exportMemory]; !ok {
		problem("it does not export its memory as %q", exportMemory)
	}
	found := m.ExportedFunctions()
	for _, want := range exports {
		have, ok := found[want.name]
		switch {
		case !ok && !want.optional:
			problem("it does not export %s %v", want.name, want.signature)
		case ok && !signatureOf(have).equal(want.signature):
			problem("its export %s is %v, not %v", want.name, signatureOf(have), want.signature)
		}
	}
	for _, pair := range [][2]string{{exportSave, exportLoad}, {exportLoad, exportSave}} {
		if found[pair[0]] != nil && found[pair[1]] == nil {
			problem("it exports %s without %s", pair[0], pair[1])
		}
	}
	known := imports()
	for _, f := range m.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == meter.ImportModule {
			continue
		}
		want, ok := known[module+"."+name]
		switch {
		case !ok:
			problem("it imports %s.%s, which plugins may not use", module, name)
		case !signatureOf(f).equal(want.signature):
			problem("its import %s.%s is %v, not %v", module, name, signatureOf(f), want.signature)
		}
	}
	if errs != nil {
		return fmt.Errorf("the module does not follow the plugin ABI, version 1: %w", errors.Join(errs...))
	}
	return nil
}
