"""Compares modules with their metered forms in an engine other than the host's.

usage: second_engine.py [--validate] PAIRS.zip...

The archives have NAME.original.wasm and NAME.metered.wasm, as testdata/make/pairs writes
them. Both must behave the same: results or traps of every exported function, and memory,
sizes of tables and globals afterwards. With --validate the script only compares whether
both are valid. It needs wasmtime==50.0.1.
"""
import ctypes
import hashlib
import io
import itertools
import sys
import zipfile

import wasmtime
from wasmtime import _bindings as c

SLICE, PLENTY = 1 << 16, (1 << 62) - 1
ARGUMENTS = [0, 1, 0xFFFFFFFF, 0x7FF0000000000000]
KINDS = {0x7F: 0, 0x7E: 1, 0x7D: 2, 0x7C: 3, 0x7B: 4, 0x70: 5, 0x6F: 6}  # value types, as wasmtime counts them
SIZES = [4, 8, 4, 8, 16]
REFERENCES = {5: "funcref", 6: "externref"}
NOT_IN_2_0 = "gc exceptions function_references tail_call multi_memory memory64 relaxed_simd threads wide_arithmetic custom_page_sizes stack_switching"


def show(value):
    """Return a value's bits; for a reference, whether it is null."""
    if value.kind in REFERENCES:
        return "null" if getattr(value.of, REFERENCES[value.kind]).store_id == 0 else "reference"
    return bytes(value.of)[: SIZES[value.kind]].hex()


def argument(kind, number):
    """Return a number as an argument of a type; references are null."""
    value = c.wasmtime_val_t(kind=KINDS[kind])
    if value.kind not in REFERENCES:
        ctypes.memmove(ctypes.byref(value.of), number.to_bytes(8, "little") * 2, SIZES[value.kind])
    return value


def number(r):
    v = shift = 0
    while (b := r.read(1)[0]) > 127:
        v, shift = v | (b & 127) << shift, shift + 7
    return v | b << shift


def signatures(data):
    """Return the types of exported functions. wasmtime's C interface cannot return those with vectors."""
    types, functions, out = [], [], {}
    whole = io.BytesIO(data[8:])
    while section := whole.read(1):
        r = io.BytesIO(whole.read(number(whole)))
        for _ in range(number(r)) if section in b"\1\3\7" else ():  # nothing is imported
            if section == b"\1":
                r.read(1)
                types.append((r.read(number(r)), r.read(number(r))))
            elif section == b"\3":
                functions.append(number(r))
            else:
                name, kind, index = r.read(number(r)).decode(), number(r), number(r)
                if kind == 0:
                    out[name] = types[functions[index]]
    return out


def call(store, f, signature, number):
    """Call a function with bits and return bits. The package cannot convert vectors itself."""
    params = (c.wasmtime_val_t * len(signature[0]))(*(argument(p, number) for p in signature[0]))
    results = (c.wasmtime_val_t * len(signature[1]))()
    trap = ctypes.POINTER(c.wasm_trap_t)()
    err = c.wasmtime_func_call(store._context(), ctypes.byref(f._func), params, len(params), results, len(results), ctypes.byref(trap))
    if err:
        raise wasmtime.WasmtimeError._from_ptr(err)
    if trap:
        return str(wasmtime.Trap._from_ptr(trap).trap_code)
    return " ".join(show(r) for r in results)


def behaviour(engine, data, types):
    store = wasmtime.Store(engine)
    store.set_limits(memory_size=64 << 16, table_elements=1 << 16)
    units = [PLENTY]

    def refuel(debt):
        units[0] += debt
        if units[0] <= 0:
            raise RuntimeError("the budget is used up")
        units[0] -= (portion := min(units[0], SLICE))
        return portion

    linker = wasmtime.Linker(engine)
    i64 = [wasmtime.ValType.i64()]
    linker.define(store, "\0meter", "refuel", wasmtime.Func(store, wasmtime.FuncType(i64, i64), refuel))
    try:
        instance = linker.instantiate(store, wasmtime.Module(engine, data))
    except (wasmtime.WasmtimeError, wasmtime.Trap) as err:
        return [f"instantiating: {getattr(err, 'trap_code', None) or str(err).splitlines()[-1]}"], units
    exports = sorted((e for e in instance.exports(store).items() if not e[0].startswith("\0")), key=lambda e: e[0])
    seen = [f"call {n!r}({a:x}): {call(store, e, types[n], a)}" for n, e in exports if isinstance(e, wasmtime.Func) for a in ARGUMENTS]
    for name, e in exports:
        if isinstance(e, wasmtime.Memory):
            seen.append(f"memory {name!r}: {e.size(store)} {hashlib.sha256(e.read(store)).hexdigest()}")
        elif isinstance(e, wasmtime.Table):
            seen.append(f"table {name!r}: {e.size(store)}")
        elif isinstance(e, wasmtime.Global):
            value = c.wasmtime_val_t()
            c.wasmtime_global_get(store._context(), ctypes.byref(e._global), ctypes.byref(value))
            seen.append(f"global {name!r}: {show(value)}")
    return seen, units


def is_valid(engine, data):
    try:
        wasmtime.Module.validate(engine, data)
        return True
    except wasmtime.WasmtimeError:
        return False


def main(args):
    validate = "--validate" in args
    config = wasmtime.Config()
    for feature in NOT_IN_2_0.split():
        setattr(config, "wasm_" + feature, False)
    engine = wasmtime.Engine(config)
    count = dict.fromkeys(("pairs", "valid", "calls", "of them trapped", "metered modules that paid", "failures"), 0)
    for z in (zipfile.ZipFile(a) for a in args if a != "--validate"):
        for name in sorted(n.removesuffix(".original.wasm") for n in z.namelist() if n.endswith(".original.wasm")):
            original, metered = z.read(name + ".original.wasm"), z.read(name + ".metered.wasm")
            before, after = is_valid(engine, original), is_valid(engine, metered)
            wrong = [f"valid before: {before}, after: {after}"] if before != after or not (before or validate) else []
            count["pairs"] += 1
            count["valid"] += before
            if not validate and not wrong:
                (want, _), (got, units) = (behaviour(engine, data, signatures(original)) for data in (original, metered))
                count["calls"] += sum(s.startswith("call ") for s in want)
                count["of them trapped"] += sum("TrapCode" in s for s in want)
                count["metered modules that paid"] += units[0] < PLENTY
                wrong = [f"{g}; original: {w}" for g, w in itertools.zip_longest(got, want) if g != w]
            count["failures"] += bool(wrong)
            for w in wrong:
                print(f"{z.filename}: {name}: {w}")
    print(", ".join(f"{v} {k}" for k, v in count.items()))
    return 1 if count["failures"] or not count["pairs"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
