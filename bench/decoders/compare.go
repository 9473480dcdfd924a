package decoders

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"text/tabwriter"

	"github.com/bytedance/sonic"

	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// jsonNumber is the number type of sonic's visitor.
type jsonNumber = json.Number

// Verdict holds a candidate's errors in the parsing suite.
type Verdict struct {
	Right            int
	Accepted         []string // accepted but invalid
	Refused          []string // refused but valid
	WrongFloat32     int      // numbers that were not rounded to the nearest float32
	NumbersCompared  int
	NanosecondsOfRow float64
	AllocsOfRow      float64
}

// Body returns n rows of the benchmark's data by name, and the model's manifest.
func Body(testdata string, n int) ([]byte, *manifest.Manifest, error) {
	text, err := os.ReadFile(filepath.Join(testdata, "bench", "models", "forest", "1.0.0", manifest.FileName))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the manifest: %w", err)
	}
	m, err := manifest.Decode(text)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the manifest: %w", err)
	}
	f, err := os.Open(filepath.Join(testdata, "bench", "rows.csv"))
	if err != nil {
		return nil, nil, fmt.Errorf("reading rows: %w", err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, nil, fmt.Errorf("reading rows: %w", err)
	}
	var b bytes.Buffer
	b.WriteByte('[')
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, value := range all[1+i%(len(all)-1)] {
			fmt.Fprintf(&b, "%c%q:%s", "{,"[min(j, 1)], all[0][j], value)
		}
		b.WriteByte('}')
	}
	b.WriteByte(']')
	return b.Bytes(), m, nil
}

// Judge runs every candidate over the parsing suite and over numbers that are
// hard to round.
func Judge(suite string, candidates []Candidate, m *manifest.Manifest) (map[string]*Verdict, error) {
	out := map[string]*Verdict{}
	for _, c := range candidates {
		out[c.Name] = &Verdict{}
	}
	f, err := os.Open(suite)
	if err != nil {
		return nil, fmt.Errorf("reading the parsing suite: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var c struct{ Name, Input string }
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("reading the parsing suite: %w", err)
		}
		for _, d := range candidates {
			v, valid := out[d.Name], d.Valid([]byte(c.Input))
			switch {
			case c.Name[0] == 'y' && !valid:
				v.Refused = append(v.Refused, c.Name)
			case c.Name[0] == 'n' && valid:
				v.Accepted = append(v.Accepted, c.Name)
			case c.Name[0] != 'i':
				v.Right++
			}
		}
	}
	return out, roundings(out, candidates, m)
}

// roundings checks that decimal texts are rounded to the nearest float32.
func roundings(out map[string]*Verdict, candidates []Candidate, m *manifest.Manifest) error {
	texts := []string{"1.00000017881393432617187499", "1.000000059604644775390625000001", "0.1", "16777217", "16777219", "3.4028234e38", "1e-45", "7.038531e-26"}
	for _, text := range texts {
		want, err := strconv.ParseFloat(text, 32)
		if err != nil {
			return fmt.Errorf("reading %s: %w", text, err)
		}
		var b bytes.Buffer
		matrix := &Matrix{Width: len(m.Features), Index: map[string]int{}}
		for j, f := range m.Features {
			matrix.Index[f.Name] = j
			fmt.Fprintf(&b, "%c%q:%s", "{,"[min(j, 1)], f.Name, text)
		}
		for _, c := range candidates {
			v := out[c.Name]
			v.NumbersCompared++
			if err := c.Rows([]byte("["+b.String()+"}]"), matrix); err != nil || slices.ContainsFunc(matrix.Values, func(x float32) bool { return x != float32(want) }) {
				v.WrongFloat32++
			}
		}
	}
	return nil
}

// Compare measures and judges all candidates and prints the results.
func Compare(testdata string, w io.Writer) error {
	const n = 1000
	body, m, err := Body(testdata, n)
	if err != nil {
		return err
	}
	candidates := Candidates(rows.NewSchema(m).NewDecoder())
	verdicts, err := Judge(filepath.Join(testdata, "..", "internal", "jsonscan", "testdata", "suite.ndjson"), candidates, m)
	if err != nil {
		return err
	}
	matrix := &Matrix{Width: len(m.Features), Index: map[string]int{}}
	for j, f := range m.Features {
		matrix.Index[f.Name] = j
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "JSON decoders: %d named rows of %d features\tns a row\tallocations a row\twrongly refused\twrongly accepted\twrong float32\n", n, matrix.Width)
	for _, c := range candidates {
		var failed error
		var times []float64
		var allocs int64
		for range 3 {
			r := testing.Benchmark(func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if failed = c.Rows(body, matrix); failed != nil {
						b.FailNow()
					}
				}
			})
			if failed != nil {
				return fmt.Errorf("%s: %w", c.Name, failed)
			}
			times, allocs = append(times, float64(r.NsPerOp())/n), r.AllocsPerOp()
		}
		slices.Sort(times)
		v := verdicts[c.Name]
		fmt.Fprintf(t, "%s\t%.0f\t%.3f\t%d\t%d\t%d of %d\n", c.Name, times[1], float64(allocs)/n, len(v.Refused), len(v.Accepted), v.WrongFloat32, v.NumbersCompared)
	}
	r := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			var out []map[string]float64
			if err := sonic.Unmarshal(body, &out); err != nil {
				b.Fatal(err)
			}
		}
	})
	fmt.Fprintf(t, "sonic into []map[string]float64, for scale\t%.0f\n", float64(r.NsPerOp())/n)
	return t.Flush()
}
