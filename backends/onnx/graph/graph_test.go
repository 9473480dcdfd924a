package graph_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
)

const testdata = "../../../testdata"

func files(t testing.TB, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(testdata, pattern))
	if err != nil || len(all) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return all
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCodes checks that files are refused for the right reason.
func TestCodes(t *testing.T) {
	for file, code := range map[string]string{
		"bad/empty": graph.Malformed, "bad/truncated": graph.Malformed, "bad/not-onnx": graph.UnknownField,
		"bad/external-data": graph.ExternalData, "suspicious/mem-addr": graph.ExternalData, "suspicious/subgraph-external": graph.ExternalData,
		"bad/wrong-domain": graph.Domain, "bad/huge-dim": graph.TooLarge, "bad/infinite-loop": graph.Unbounded,
		"suspicious/data-expand": graph.DataSized, "suspicious/nonzero": graph.DataSized,
		"suspicious/deep-subgraph": graph.TooLarge, "suspicious/duplicate-initializer": graph.Duplicate, "suspicious/unknown-field": graph.UnknownField,
	} {
		_, err := graph.Check(read(t, filepath.Join(testdata, file+".onnx")), graph.Limits{})
		var p *graph.Problem
		if !errors.As(err, &p) {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if p.Code != code {
			t.Errorf("%s: refused as %s (%s), want %s", file, p.Code, p.Message, code)
		}
	}
}

// TestServedModelsPass checks that models which are served pass the check.
func TestServedModelsPass(t *testing.T) {
	for _, file := range append(files(t, "models/*/1.0.0/model.onnx"), files(t, "bench/models/*/1.0.0/model.onnx")...) {
		m, err := graph.Check(read(t, file), graph.Limits{})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if m.Nodes == 0 || len(m.Inputs) == 0 || len(m.Outputs) == 0 || m.Summary() == "" {
			t.Errorf("%s: read as %+v", file, m)
		}
	}
}

// TestEveryPrefixIsRefusedOrRead cuts a file at every byte. The result must be an
// error or a model with the same outputs, never a panic.
func TestEveryPrefixIsRefusedOrRead(t *testing.T) {
	data := read(t, filepath.Join(testdata, "variants/plain-sum.onnx"))
	whole, err := graph.Check(data, graph.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(data) {
		m, err := graph.Check(data[:n], graph.Limits{})
		if err == nil && fmt.Sprint(m.Outputs) != fmt.Sprint(whole.Outputs) {
			t.Errorf("the first %d of %d bytes are read as %v", n, len(data), m.Outputs)
		}
	}
}

// roundTrip checks that reading the encoded model gives the same model.
func roundTrip(t *testing.T, m *graph.Model, trusted bool) {
	t.Helper()
	written := m.Encode()
	again, err := graph.Check(written, graph.Limits{Trusted: trusted})
	if err != nil {
		t.Fatalf("the encoded model is refused: %v", err)
	}
	if !reflect.DeepEqual(m, again) || !bytes.Equal(written, again.Encode()) {
		t.Fatalf("%+v is encoded and read as %+v", m, again)
	}
}

// TestRoundTrip encodes and reads sample models.
func TestRoundTrip(t *testing.T) {
	for _, file := range slices.Concat(files(t, "models/*/1.0.0/model.onnx"), files(t, "bench/models/*/1.0.0/model.onnx"), files(t, "variants/*.onnx")) {
		m, err := graph.Check(read(t, file), graph.Limits{Trusted: true})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		roundTrip(t, m, true)
	}
}

// TestUnzipped checks that an output of maps becomes the matrix that the maps say, and
// that graphs without maps stay as they are.
func TestUnzipped(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"outputs/classifier-zipmap.onnx", "[label: tensor(int64)[?] output_probability: tensor(float)[?,2]]"},
		{"outputs/classifier-words.onnx", "[label: tensor(string)[?] output_probability: tensor(float)[?,3]]"},
		{"outputs/classifier.onnx", ""},
		{"variants/plain-sum.onnx", ""},
	} {
		data := read(t, filepath.Join(testdata, c.file))
		m, err := graph.Check(data, graph.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		before := m.Encode()
		u, err := m.Unzipped(graph.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if c.want == "" {
			if u != m {
				t.Errorf("%s is changed", c.file)
			}
			continue
		}
		if got := fmt.Sprint(u.Outputs); got != c.want || len(u.Classes) < 2 || !slices.Equal(u.Zipped, []string{"output_probability"}) {
			t.Errorf("%s: outputs %s, classes %q", c.file, got, u.Classes)
		}
		if !bytes.Equal(before, m.Encode()) || m.Outputs[1].IsTensor() {
			t.Errorf("%s: the model itself is changed", c.file)
		}
	}
}

func ExampleCheck() {
	data, err := os.ReadFile("../../../testdata/bad/external-data.onnx")
	if err != nil {
		panic(err)
	}
	_, err = graph.Check(data, graph.Limits{})
	var p *graph.Problem
	fmt.Println(errors.As(err, &p), p.Code)
	// Output: true external_data
}

// FuzzCheck checks that any bytes give a model or a *Problem with a printable
// message.
func FuzzCheck(f *testing.F) {
	for _, pattern := range []string{"variants/*.onnx", "suspicious/*.onnx", "bad/*.onnx", "models/mammography-gmm/1.0.0/model.onnx", "../backends/onnx/testdata/hostile/*.onnx"} {
		for _, file := range files(f, pattern) {
			if data := read(f, file); len(data) < 64<<10 {
				f.Add(data, strings.Contains(file, "loop"))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, trusted bool) {
		m, err := graph.Check(data, graph.Limits{Trusted: trusted})
		if err == nil {
			_ = m.Summary()
			for _, v := range slices.Concat(m.Inputs, m.Outputs) {
				_ = v.String()
			}
			roundTrip(t, m, trusted)
			if u, err := m.Unzipped(graph.Limits{Trusted: trusted}); err == nil && len(u.Outputs) != len(m.Outputs) {
				t.Fatalf("without its ZipMaps it has the outputs %v, not %v", u.Outputs, m.Outputs)
			}
			return
		}
		var p *graph.Problem
		if !errors.As(err, &p) || p.Code == "" || len(p.Message) == 0 || len(p.Message) > 2000 {
			t.Fatalf("%T: %v", err, err)
		}
	})
}
