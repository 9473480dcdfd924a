package wasm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
	"unicode/utf16"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/pynomaly/pynomaly-runtime/internal/pluginlog"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

// What a plugin may import: the part of WASI preview 1 that the runtimes of
// languages need, and AssemblyScript's abort. There are no files, no network and no
// arguments, and sleeping returns at once. Host code is not metered: each function
// is fast and checks the deadline.

const (
	moduleWASI = "wasi_snapshot_preview1"
	moduleEnv  = "env"
)

// WASI's error numbers.
const (
	success      = 0
	errnoBadFile = 8
	errnoInvalid = 28
	errnoFault   = 21
)

const (
	maxRandom = 1 << 16 // bytes per call
	maxPieces = 1024    // in one write
)

// errAbort ends a call that called env.abort.
var errAbort = errors.New("the module called abort")

// guest is the state of one instance's imports.
type guest struct {
	log    *pluginlog.Log
	random *rand.ChaCha8
	start  time.Time
}

type guestKey struct{}

func guestOf(ctx context.Context) *guest {
	g, _ := ctx.Value(guestKey{}).(*guest)
	return g
}

// hostFunction is an import. It returns the errno of call or, if call is nil, errno.
type hostFunction struct {
	signature
	errno uint32
	call  func(ctx context.Context, g *guest, memory api.Memory, args []uint64) uint32
}

func params(types string) []api.ValueType {
	out := make([]api.ValueType, len(types))
	for i, t := range types {
		out[i] = map[rune]api.ValueType{'i': i32, 'l': i64}[t]
	}
	return out
}

// imports returns all functions that a plugin may import, by "module.name".
func imports() map[string]hostFunction {
	errno := []api.ValueType{i32}
	out := map[string]hostFunction{
		moduleEnv + ".abort":           {signature: signature{params("iiii"), nil}, call: abort},
		moduleWASI + ".proc_exit":      {signature: signature{params("i"), nil}, call: exit},
		moduleWASI + ".sched_yield":    {signature: signature{nil, errno}},
		moduleWASI + ".args_get":       {signature: signature{params("ii"), errno}},
		moduleWASI + ".environ_get":    {signature: signature{params("ii"), errno}},
		moduleWASI + ".args_sizes_get": {signature: signature{params("ii"), errno}, call: twoZeros}, moduleWASI + ".environ_sizes_get": {signature: signature{params("ii"), errno}, call: twoZeros},
		moduleWASI + ".clock_res_get":  {signature: signature{params("ii"), errno}, call: clockResolution},
		moduleWASI + ".clock_time_get": {signature: signature{params("ili"), errno}, call: clockTime},
		moduleWASI + ".random_get":     {signature: signature{params("ii"), errno}, call: randomGet},
		moduleWASI + ".fd_write":       {signature: signature{params("iiii"), errno}, call: fdWrite},
		moduleWASI + ".fd_fdstat_get":  {signature: signature{params("ii"), errno}, call: fdStat},
		moduleWASI + ".poll_oneoff":    {signature: signature{params("iiii"), errno}, call: poll},
	}
	for name, types := range map[string]string{
		"fd_advise": "illi", "fd_allocate": "ill", "fd_close": "i", "fd_datasync": "i", "fd_fdstat_set_flags": "ii", "fd_fdstat_set_rights": "ill",
		"fd_filestat_get": "ii", "fd_filestat_set_size": "il", "fd_filestat_set_times": "illi", "fd_pread": "iiili", "fd_prestat_get": "ii",
		"fd_prestat_dir_name": "iii", "fd_pwrite": "iiili", "fd_read": "iiii", "fd_readdir": "iiili", "fd_renumber": "ii", "fd_seek": "ilii",
		"fd_sync": "i", "fd_tell": "ii", "path_create_directory": "iii", "path_filestat_get": "iiiii", "path_filestat_set_times": "iiiilli",
		"path_link": "iiiiiii", "path_open": "iiiiillii", "path_readlink": "iiiiii", "path_remove_directory": "iii", "path_rename": "iiiiii",
		"path_symlink": "iiiii", "path_unlink_file": "iii", "proc_raise": "i", "sock_accept": "iii", "sock_recv": "iiiiii", "sock_send": "iiiii", "sock_shutdown": "ii",
	} {
		out[moduleWASI+"."+name] = hostFunction{signature: signature{params(types), errno}, errno: errnoBadFile}
	}
	return out
}

// addImports instantiates the modules that a plugin imports.
func addImports(ctx context.Context, r wazero.Runtime, to wazero.CompiledModule) error {
	all, builders := imports(), map[string]wazero.HostModuleBuilder{}
	for _, imported := range to.ImportedFunctions() {
		module, function, _ := imported.Import()
		f, known := all[module+"."+function]
		if !known {
			continue // the meter's own
		}
		if builders[module] == nil {
			builders[module] = r.NewHostModuleBuilder(module)
		}
		builders[module].NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, m api.Module, stack []uint64) {
			if err := ctx.Err(); err != nil {
				panic(err)
			}
			result := f.errno
			if f.call != nil {
				result = f.call(ctx, guestOf(ctx), m.Memory(), stack)
			}
			if len(f.results) > 0 {
				stack[0] = uint64(result)
			}
		}), f.params, f.results).Export(function)
	}
	for module, b := range builders {
		if _, err := b.Instantiate(ctx); err != nil {
			return fmt.Errorf("adding the module %s: %w", module, err)
		}
	}
	return nil
}

// abort logs what AssemblyScript's runtime says of an error: a message, a file, a line
// and a column. The first two are strings of AssemblyScript.
func abort(_ context.Context, g *guest, memory api.Memory, args []uint64) uint32 {
	if text := asText(memory, uint32(args[0])); text != "" {
		fmt.Fprintf(g.log, "abort: %s in %s:%d:%d\n", text, asText(memory, uint32(args[1])), uint32(args[2]), uint32(args[3]))
	}
	panic(errAbort)
}

// asText reads a string of AssemblyScript: UTF-16, whose size in bytes stands before it.
// It returns "" for what is none.
func asText(memory api.Memory, at uint32) string {
	const header, most = 4, 4096
	if at < header {
		return ""
	}
	size, ok := memory.ReadUint32Le(at - header)
	if !ok {
		return ""
	}
	units, ok := memory.Read(at, min(size, most)&^1)
	if !ok {
		return ""
	}
	text := make([]uint16, 0, len(units)/2)
	for i := 0; i < len(units); i += 2 {
		text = append(text, binary.LittleEndian.Uint16(units[i:]))
	}
	return printable.Line(string(utf16.Decode(text)))
}

func exit(_ context.Context, _ *guest, _ api.Memory, args []uint64) uint32 {
	panic(sys.NewExitError(uint32(args[0])))
}

func twoZeros(_ context.Context, _ *guest, memory api.Memory, args []uint64) uint32 {
	if !memory.WriteUint32Le(uint32(args[0]), 0) || !memory.WriteUint32Le(uint32(args[1]), 0) {
		return errnoFault
	}
	return success
}

func clockResolution(_ context.Context, _ *guest, memory api.Memory, args []uint64) uint32 {
	if !memory.WriteUint64Le(uint32(args[1]), uint64(time.Microsecond)) {
		return errnoFault
	}
	return success
}

func clockTime(_ context.Context, g *guest, memory api.Memory, args []uint64) uint32 {
	now := time.Now()
	t := uint64(now.UnixNano())
	if clock := uint32(args[0]); clock != 0 { // not the wall clock
		t = uint64(now.Sub(g.start))
	}
	if !memory.WriteUint64Le(uint32(args[2]), t) {
		return errnoFault
	}
	return success
}

func randomGet(_ context.Context, g *guest, memory api.Memory, args []uint64) uint32 {
	if uint32(args[1]) > maxRandom {
		return errnoInvalid
	}
	view, ok := memory.Read(uint32(args[0]), uint32(args[1]))
	if !ok {
		return errnoFault
	}
	_, _ = g.random.Read(view)
	return success
}

// fdWrite accepts standard output and standard error, and logs both.
func fdWrite(_ context.Context, g *guest, memory api.Memory, args []uint64) uint32 {
	fd, list, count, written := uint32(args[0]), uint32(args[1]), uint32(args[2]), uint32(args[3])
	if fd != 1 && fd != 2 {
		return errnoBadFile
	}
	if count > maxPieces {
		return errnoInvalid
	}
	pieces, ok := memory.Read(list, 8*count)
	if !ok {
		return errnoFault
	}
	var total uint32
	for ; len(pieces) > 0; pieces = pieces[8:] {
		text, ok := memory.Read(binary.LittleEndian.Uint32(pieces), binary.LittleEndian.Uint32(pieces[4:]))
		if !ok {
			return errnoFault
		}
		_, _ = g.log.Write(text)
		total += uint32(len(text))
	}
	if !memory.WriteUint32Le(written, total) {
		return errnoFault
	}
	return success
}

// fdStat reports that the standard streams are character devices.
func fdStat(_ context.Context, _ *guest, memory api.Memory, args []uint64) uint32 {
	const size, characterDevice = 24, 2
	if uint32(args[0]) > 2 {
		return errnoBadFile
	}
	view, ok := memory.Read(uint32(args[1]), size)
	if !ok {
		return errnoFault
	}
	clear(view)
	view[0] = characterDevice
	return success
}

// poll reports all events as occurred, because a plugin may not sleep.
func poll(_ context.Context, _ *guest, memory api.Memory, args []uint64) uint32 {
	const subscription, event, most = 48, 32, 64
	in, out, n, count := uint32(args[0]), uint32(args[1]), uint32(args[2]), uint32(args[3])
	if n == 0 || n > most {
		return errnoInvalid
	}
	from, ok := memory.Read(in, n*subscription)
	if !ok {
		return errnoFault
	}
	to, ok := memory.Read(out, n*event)
	if !ok {
		return errnoFault
	}
	clear(to)
	for i := range n {
		copy(to[i*event:], from[i*subscription:i*subscription+8]) // the caller's user data
		to[i*event+10] = from[i*subscription+8]                   // the kind of event
	}
	if !memory.WriteUint32Le(count, n) {
		return errnoFault
	}
	return success
}
