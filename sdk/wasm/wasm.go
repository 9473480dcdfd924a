// Package wasm makes a detector written in Go a WebAssembly plugin.
//
// A plugin is a main package that registers its detector and is built with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o detector.wasm
//
// On other platforms the package is plain Go. Unit tests call Run to use a
// detector natively.
package wasm

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// Description is what a detector tells the host about itself.
type Description struct {
	Name      string `json:"name"`
	Version   string `json:"version"`
	Algorithm string `json:"algorithm"`
	// DType is the type of the matrix: float32, float64 or int64.
	DType string `json:"dtype"`
	// Features are the column names in order. If nil, the manifest names them.
	Features []string `json:"features"`
	// Orientation is higher_is_anomalous (the default) or higher_is_normal.
	Orientation string `json:"orientation,omitempty"`
	// Threshold applies to the oriented score, where higher is more anomalous.
	// If nil, the manifest gives it.
	Threshold *float64 `json:"threshold,omitempty"`
	// Stateful detectors remember rows. The host opens one instance and calls
	// it with one request at a time, in order.
	Stateful bool `json:"stateful,omitempty"`
}

// Setup is what a detector receives before its first rows.
type Setup struct {
	Config   json.RawMessage // the config section of the manifest, an object
	DType    string
	Features []Feature
	Files    map[string][]byte // the files section, by name
}

// Feature is one column.
type Feature struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
}

// Matrix holds Rows x Cols numbers, row after row, in the slice of the dtype
// that the detector describes.
type Matrix struct {
	Rows, Cols int
	Float32s   []float32
	Float64s   []float64
	Int64s     []int64
}

// Detector holds the functions of a plugin. Describe and Score are required.
type Detector struct {
	Describe func() Description
	// Init is called once, after Describe.
	Init func(Setup) error
	// Score writes one raw score per row. NaN or an infinity means that the row
	// cannot be scored.
	Score func(in Matrix, out []float64) error
	// Explain writes 1 + Cols numbers for each row: the base value, then each
	// column's contribution to the raw score.
	Explain func(in Matrix, out []float64) error
	// Learn adds rows to the state of a stateful detector, in order.
	Learn func(in Matrix) error
	// Save returns the state. Load replaces the state with one that Save
	// returned.
	Save func() ([]byte, error)
	Load func(state []byte) error
}

// Errors of the optional functions that a detector lacks.
var (
	errNoExplain = fmt.Errorf("the detector does not explain itself: %w", errors.ErrUnsupported)
	errNoLearn   = fmt.Errorf("the detector does not learn: %w", errors.ErrUnsupported)
	errNoState   = fmt.Errorf("the detector has no state that can be saved: %w", errors.ErrUnsupported)
)

// ErrSetup is wrapped by errors about the init block that the host passes.
var ErrSetup = errors.New("the init block is malformed")

// ParseSetup reads the block that the host passes at init: a length, a JSON
// object, and the files.
func ParseSetup(block []byte) (Setup, error) {
	if len(block) < 4 {
		return Setup{}, fmt.Errorf("%w: it has %d bytes", ErrSetup, len(block))
	}
	n := binary.LittleEndian.Uint32(block)
	if uint64(n) > uint64(len(block)-4) {
		return Setup{}, fmt.Errorf("%w: its JSON has %d bytes, the block %d", ErrSetup, n, len(block))
	}
	var head struct {
		Config   json.RawMessage
		DType    string
		Features []Feature
		Files    []struct {
			Name         string
			Offset, Size int
		}
	}
	if err := json.Unmarshal(block[4:4+n], &head); err != nil {
		return Setup{}, fmt.Errorf("%w: %w", ErrSetup, err)
	}
	s := Setup{Config: head.Config, DType: head.DType, Features: head.Features, Files: map[string][]byte{}}
	for _, f := range head.Files {
		if f.Offset < 0 || f.Size < 0 || f.Offset > len(block) || f.Size > len(block)-f.Offset {
			return Setup{}, fmt.Errorf("%w: file %q lies outside it", ErrSetup, f.Name)
		}
		s.Files[f.Name] = append([]byte(nil), block[f.Offset:f.Offset+f.Size]...)
	}
	return s, nil
}

// Run initialises d and scores rows of float64 natively, as a host would do
// with a module. Use it in unit tests.
func Run(d Detector, s Setup, rows [][]float64) ([]float64, error) {
	if d.Init != nil {
		if err := d.Init(s); err != nil {
			return nil, fmt.Errorf("initialising: %w", err)
		}
	}
	in, err := matrix(d.Describe().DType, rows)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(rows))
	if err := d.Score(in, out); err != nil {
		return nil, fmt.Errorf("scoring: %w", err)
	}
	return out, nil
}

func matrix(dtype string, rows [][]float64) (Matrix, error) {
	m := Matrix{Rows: len(rows)}
	for i, row := range rows {
		if i == 0 {
			m.Cols = len(row)
		}
		if len(row) != m.Cols {
			return m, fmt.Errorf("row %d has %d values, row 0 has %d", i, len(row), m.Cols)
		}
		for _, v := range row {
			switch dtype {
			case "float32":
				m.Float32s = append(m.Float32s, float32(v))
			case "float64":
				m.Float64s = append(m.Float64s, v)
			case "int64":
				m.Int64s = append(m.Int64s, int64(v))
			default:
				return m, fmt.Errorf("dtype %q is not float32, float64 or int64", dtype)
			}
		}
	}
	return m, nil
}
