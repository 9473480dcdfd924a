package wasm

import (
	"encoding/json"
	"unsafe"
)

// The module's side of the plugin ABI, version 1. The host calls a module from
// one thread at a time.

// plugin is the module's only detector.
var plugin Detector

// Register makes d the module's detector. Call it from an init function of the
// main package: the host never runs the main function of such a module.
func Register(d Detector) { plugin = d }

// blocks keeps memory that the host uses from being collected.
var blocks = map[uintptr][]byte{}

var (
	dtype     string // the dtype that Describe returned
	described []byte // what describe returned; the host copies it at once
	lastError []byte
	saved     []byte
)

const (
	alignment = 16
	ok        = 0
	failed    = 1
)

//go:wasmexport pynomaly_abi_v1
func abiV1() {}

//go:wasmexport pynomaly_alloc
func alloc(size uint32) uint32 {
	b := make([]byte, int(size)+alignment)
	at := (uintptr(unsafe.Pointer(unsafe.SliceData(b))) + alignment - 1) &^ (alignment - 1)
	blocks[at] = b
	return uint32(at)
}

//go:wasmexport pynomaly_free
func free(at, _ uint32) { delete(blocks, uintptr(at)) }

//go:wasmexport pynomaly_describe
func describe() uint64 {
	d := plugin.Describe()
	dtype = d.DType
	var err error
	if described, err = json.Marshal(d); err != nil {
		return 0
	}
	return pack(described)
}

//go:wasmexport pynomaly_init
func initialise(at, size uint32) uint32 {
	s, err := ParseSetup(view[byte](at, int(size)))
	if err == nil && plugin.Init != nil {
		err = plugin.Init(s)
	}
	return status(err)
}

//go:wasmexport pynomaly_score
func score(in, rows, cols, out uint32) uint32 {
	return status(plugin.Score(matrixAt(in, rows, cols), view[float64](out, int(rows))))
}

//go:wasmexport pynomaly_explain
func explain(in, rows, cols, out uint32) uint32 {
	if plugin.Explain == nil {
		return status(errNoExplain)
	}
	return status(plugin.Explain(matrixAt(in, rows, cols), view[float64](out, int(rows*(1+cols)))))
}

//go:wasmexport pynomaly_learn
func learn(in, rows, cols uint32) uint32 {
	if plugin.Learn == nil {
		return status(errNoLearn)
	}
	return status(plugin.Learn(matrixAt(in, rows, cols)))
}

//go:wasmexport pynomaly_save
func save() uint64 {
	saved = nil
	if plugin.Save == nil {
		return 0
	}
	var err error
	if saved, err = plugin.Save(); err != nil {
		panic(err) // the host destroys the instance: its state cannot be trusted
	}
	return pack(saved)
}

//go:wasmexport pynomaly_load
func load(at, size uint32) uint32 {
	if plugin.Load == nil {
		return status(errNoState)
	}
	return status(plugin.Load(append([]byte(nil), view[byte](at, int(size))...)))
}

//go:wasmexport pynomaly_last_error
func lastErrorText() uint64 { return pack(lastError) }

func status(err error) uint32 {
	lastError = nil
	if err == nil {
		return ok
	}
	const most = 64 << 10
	lastError = []byte(err.Error())
	lastError = lastError[:min(len(lastError), most)]
	return failed
}

func matrixAt(in, rows, cols uint32) Matrix {
	m := Matrix{Rows: int(rows), Cols: int(cols)}
	n := m.Rows * m.Cols
	switch dtype {
	case "float32":
		m.Float32s = view[float32](in, n)
	case "int64":
		m.Int64s = view[int64](in, n)
	default:
		m.Float64s = view[float64](in, n)
	}
	return m
}

func view[T any](at uint32, n int) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(uintptr(at))), n) // the host's pointers are addresses in the module's memory
}

func pack(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))<<32 | uint64(len(b))
}
