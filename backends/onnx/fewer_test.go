package onnx_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

func message(number protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), slices.Concat(parts...))
}

func number(number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
}

// wide writes a graph that computes the given number of float32 values per row, and has
// further nodes.
func wide(t *testing.T, values int, more ...[]byte) string {
	t.Helper()
	ones := func(name string, rows, columns int) []byte {
		raw := bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, rows*columns)
		return message(5, number(1, uint64(rows)), number(1, uint64(columns)), number(2, 1), message(8, []byte(name)), message(9, raw))
	}
	matMul := func(a, b, to string) []byte {
		return message(1, message(1, []byte(a)), message(1, []byte(b)), message(2, []byte(to)), message(4, []byte("MatMul")))
	}
	value := func(field protowire.Number, name string, columns uint64) []byte {
		return message(field, message(1, []byte(name)), message(2, message(1, number(1, 1), message(2, message(1, message(2, []byte("N"))), message(1, number(1, columns))))))
	}
	graph := message(7, matMul("X", "W", "Y"), matMul("Y", "V", "score"), slices.Concat(more...), message(2, []byte("g")), ones("W", 4, values), ones("V", values, 1), value(11, "X", 4), value(12, "score", 1))
	file := filepath.Join(t.TempDir(), "wide.onnx")
	if err := os.WriteFile(file, slices.Concat(number(1, 8), graph, message(8, number(2, 17))), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestFewerRows checks that a graph whose largest call does not fit limits.memory is
// served with smaller calls, unless the manifest says how many rows a call has.
func TestFewerRows(t *testing.T) {
	state := t.TempDir()
	file := wide(t, 20000) // 10,000 rows take 800 MB
	for range 2 {          // the second time from the proof
		s, err := open(t, testkit.ONNX(t, state), file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if most := s.(backends.RowLimiter).MaxRows(); most < 100 || most > 5000 {
			t.Errorf("calls have at most %d rows", most)
		}
	}
	_, err := open(t, testkit.ONNX(t, state), file, func(m *manifest.Manifest) { m.Limits.RowsGiven = true })
	if !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), "limits.memory") {
		t.Errorf("with limits.max_batch_rows: %v", err)
	}
	s, err := open(t, testkit.ONNX(t, state), wide(t, 10), nil)
	if err != nil {
		t.Fatal(err)
	}
	if most := s.(backends.RowLimiter).MaxRows(); most != manifest.Defaults().Limits.MaxBatchRows {
		t.Errorf("calls of a small graph have at most %d rows", most)
	}
}

// TestFewerRowsChecked checks the same for graphs that the check would refuse.
func TestFewerRowsChecked(t *testing.T) {
	b := testkit.ONNX(t, t.TempDir())
	little := func(m *manifest.Manifest) { m.Limits.Memory = 2 << 20 }
	// The texts of 10,000 rows may take 2.9 MB.
	texts := message(1, message(1, []byte("X")), message(2, []byte("T")), message(4, []byte("Cast")), message(5, message(1, []byte("to")), number(3, 8), number(20, 2)))
	file := wide(t, 10, texts)
	a, err := artifact(t, b, file, little)
	if err != nil {
		t.Fatal(err)
	}
	if most := a.Manifest.Limits.MaxBatchRows; most != 5000 {
		t.Errorf("calls have at most %d rows", most)
	}
	if _, err := artifact(t, b, file, func(m *manifest.Manifest) { little(m); m.Limits.RowsGiven = true }); !errors.Is(err, backends.ErrRefused) {
		t.Errorf("with limits.max_batch_rows: %v", err)
	}
}
