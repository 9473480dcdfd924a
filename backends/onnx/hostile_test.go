package onnx_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hostile"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// report is one graph's result, written by the process that tried to load it.
type report struct {
	Name, Code, Error string
	Refused           bool
	Peak              int64 // the largest number of resident bytes of the process so far
}

const hostileFiles = "PYNOMALY_TEST_HOSTILE"

// TestHostileGraphs loads each graph in a process that measures itself. The
// process must refuse it for the expected reason and need no more memory than
// before.
func TestHostileGraphs(t *testing.T) {
	testkit.NeedRuntime(t)
	if files := os.Getenv(hostileFiles); files != "" {
		tryToLoad(t, strings.Split(files, string(filepath.ListSeparator)))
		return
	}
	codes := map[string]string{}
	var files []string
	for _, g := range hostile.Graphs() {
		codes[g.Name] = g.Code
		files = append(files, g.File)
	}
	if there, err := filepath.Glob("testdata/hostile/*.onnx"); err != nil || len(there) != len(files) {
		t.Fatalf("%d graphs of %d, %v", len(there), len(files), err)
	}
	// The good graph comes first, so that its memory is not counted, and last.
	good := testkit.Testdata("models", "mammography-gmm", "1.0.0", "model.onnx")
	all := append(append([]string{good}, files...), good)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHostileGraphs$")
	cmd.Env = append(os.Environ(), hostileFiles+"="+strings.Join(all, string(filepath.ListSeparator)))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var reports []report
	for line := range bytes.Lines(out) {
		var r report
		if json.Unmarshal(line, &r) == nil {
			reports = append(reports, r)
		}
	}
	if len(reports) != len(all) {
		t.Fatalf("%d reports of %d: %s", len(reports), len(all), out)
	}
	const most = 64 << 20
	for i, r := range reports {
		code := codes[r.Name] // empty for the good one
		if r.Code != code || r.Refused != (code != "") {
			t.Errorf("%s: code %q, want %q: %s", r.Name, r.Code, code, r.Error)
		}
		if i > 0 && r.Peak > reports[0].Peak+most {
			t.Errorf("%s: the process had %d MiB at its peak, and %d before the first", r.Name, r.Peak>>20, reports[0].Peak>>20)
		}
	}
}

// tryToLoad writes a report of each graph. If a graph loads, it scores rows
// that differ from those of its proof.
func tryToLoad(t *testing.T, files []string) {
	b := testkit.ONNX(t, t.TempDir())
	for _, file := range files {
		// With fewer rows a call some of them fit the memory.
		s, err := open(t, b, file, func(m *manifest.Manifest) { m.Limits.RowsGiven = true })
		if err == nil {
			batch := sdk.NewBatch(s.Info().Features)
			batch.Resize(6)
			for i := range batch.Float32s() {
				batch.Float32s()[i] = 5e8
			}
			err = s.Score(t.Context(), batch, make([]float64, 6))
		}
		r := report{Name: strings.TrimSuffix(filepath.Base(file), ".onnx"), Refused: errors.Is(err, backends.ErrRefused), Peak: peak(t)}
		if r.Name == "model" {
			r.Name = ""
		}
		var p *graph.Problem
		if errors.As(err, &p) {
			r.Code = p.Code
		}
		if err != nil {
			r.Error = err.Error()
		}
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(string(line))
	}
}

// peak returns the largest number of bytes that this process had resident.
func peak(t *testing.T) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(data), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
