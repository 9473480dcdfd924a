package wasm_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/sdk/wasm"
)

func sums(dtype string) wasm.Detector {
	return wasm.Detector{
		Describe: func() wasm.Description { return wasm.Description{Name: "sums", DType: dtype} },
		Score: func(in wasm.Matrix, out []float64) error {
			for i := range in.Rows {
				for j := range in.Cols {
					switch at := i*in.Cols + j; dtype {
					case "float32":
						out[i] += float64(in.Float32s[at])
					case "int64":
						out[i] += float64(in.Int64s[at])
					default:
						out[i] += in.Float64s[at]
					}
				}
			}
			return nil
		},
	}
}

func ExampleRun() {
	scores, err := wasm.Run(sums("float64"), wasm.Setup{}, [][]float64{{1, 2}, {3, 4}})
	fmt.Println(scores, err)
	// Output: [3 7] <nil>
}

func TestRun(t *testing.T) {
	for _, dtype := range []string{"float32", "float64", "int64"} {
		got, err := wasm.Run(sums(dtype), wasm.Setup{}, [][]float64{{1, 2}, {3, 4}})
		if err != nil || got[0] != 3 || got[1] != 7 {
			t.Errorf("%s: %v, %v", dtype, got, err)
		}
	}
	if _, err := wasm.Run(sums("string"), wasm.Setup{}, [][]float64{{1}}); err == nil {
		t.Error("dtype string was accepted")
	}
	if _, err := wasm.Run(sums("float64"), wasm.Setup{}, [][]float64{{1}, {1, 2}}); err == nil {
		t.Error("ragged rows were accepted")
	}
	d := sums("float64")
	d.Init = func(wasm.Setup) error { return errors.New("no") }
	if _, err := wasm.Run(d, wasm.Setup{}, nil); err == nil {
		t.Error("Init's error was lost")
	}
}

func block(json string, rest string) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(json)))
	return append(append(out, json...), rest...)
}

func TestParseSetup(t *testing.T) {
	const json = `{"config":{"k":1},"dtype":"float64","features":[{"name":"x","dtype":"bool"}],"files":[{"name":"f","offset":126,"size":3}]}`
	whole := block(json, "..............")
	copy(whole[126:], "abc")
	s, err := wasm.ParseSetup(whole)
	if err != nil || string(s.Config) != `{"k":1}` || s.Features[0].Name != "x" || string(s.Files["f"]) != "abc" {
		t.Errorf("%+v, %v", s, err)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": {9, 0, 0, 0, '{'}, "no JSON": block("{", ""),
		"file outside": block(`{"files":[{"name":"f","offset":10,"size":1000}]}`, ""), "file before": block(`{"files":[{"name":"f","offset":-1,"size":1}]}`, ""),
	} {
		if _, err := wasm.ParseSetup(b); !errors.Is(err, wasm.ErrSetup) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzParseSetup checks that every init block is refused or has all files
// inside it.
func FuzzParseSetup(f *testing.F) {
	f.Add(block(`{"config":{},"files":[{"name":"f","offset":60,"size":2}]}`, "abcdefgh"))
	f.Add([]byte{0, 0, 0, 0})
	f.Add(block("null", ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := wasm.ParseSetup(b)
		if err != nil {
			if !errors.Is(err, wasm.ErrSetup) {
				t.Errorf("%v", err)
			}
			return
		}
		for name, data := range s.Files {
			if len(data) > len(b) {
				t.Errorf("file %q has %d bytes of a block of %d", name, len(data), len(b))
			}
		}
	})
}
