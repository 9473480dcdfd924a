package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// dataset holds the rows to send, as numbers and as texts.
type dataset struct {
	names  []string
	text   [][]string
	values [][]float32
}

func readDataset(o options) (*dataset, error) {
	f, err := os.Open(filepath.Join(o.testdata, "bench", "rows.csv"))
	if err != nil {
		return nil, fmt.Errorf("reading rows: %w", err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("reading rows: %w", err)
	}
	d := &dataset{names: all[0], text: all[1:]}
	for _, record := range d.text {
		row := make([]float32, len(record))
		for j, text := range record {
			v, err := strconv.ParseFloat(text, 32)
			if err != nil {
				return nil, fmt.Errorf("reading rows: %w", err)
			}
			row[j] = float32(v)
		}
		d.values = append(d.values, row)
	}
	return d, nil
}

// body returns a request of n rows, by name or as arrays. A single row is not in an
// array.
func (d *dataset) body(n int, named bool) []byte {
	var b bytes.Buffer
	b.WriteString(`{"model_id":"forest","data":`)
	if n > 1 {
		b.WriteByte('[')
	}
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte("[{"[btoi(named)])
		for j, text := range d.text[i%len(d.text)] {
			if j > 0 {
				b.WriteByte(',')
			}
			if named {
				fmt.Fprintf(&b, "%q:", d.names[j])
			}
			b.WriteString(text)
		}
		b.WriteByte("]}"[btoi(named)])
	}
	if n > 1 {
		b.WriteByte(']')
	}
	b.WriteByte('}')
	return b.Bytes()
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (d *dataset) rows(n int) [][]float32 {
	out := make([][]float32, n)
	for i := range out {
		out[i] = d.values[i%len(d.values)]
	}
	return out
}

// scenario is a kind of traffic.
type scenario struct {
	name        string
	rows, conns int
	named       bool
	host, floor string // paths
}

func scenarios() []scenario {
	const one, many = "/api/v1/predict", "/api/v1/predict/batch"
	return []scenario{
		{"1 named row, 1 connection", 1, 1, true, one, pathNamed},
		{"1 named row, 32 connections", 1, 32, true, one, pathNamed},
		{"1 array row, 1 connection", 1, 1, false, one, pathArray},
		{"1 array row, 32 connections", 1, 32, false, one, pathArray},
		{"1,000 named rows, 4 connections", 1000, 4, true, many, pathNamedRows},
		{"1,000 array rows, 4 connections", 1000, 4, false, many, pathArrayRows},
	}
}

// hostOther is the name of the other build of the host.
const hostOther = "host (other)"

// contender is a server that is measured in every scenario.
type contender struct {
	name string
	*process
	isHost bool
}

func (c contender) path(s scenario) string {
	if c.isHost {
		return s.host
	}
	return s.floor
}

// requests measures the host, both floors and the limit in turns.
func requests(ctx context.Context, o options, w io.Writer) error {
	data, err := readDataset(o)
	if err != nil {
		return err
	}
	state, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(state)
	host, err := startHost(ctx, o, filepath.Join(o.testdata, "bench", "models"), state)
	if err != nil {
		return err
	}
	defer func() { _ = host.stop() }()
	contenders := []contender{{"host", host, true}}
	if o.other != "" {
		older := o
		older.binary = o.other
		p, err := startHost(ctx, older, filepath.Join(o.testdata, "bench", "models"), filepath.Join(state, "other"))
		if err != nil {
			return err
		}
		defer func() { _ = p.stop() }()
		contenders = append(contenders, contender{hostOther, p, true})
	}
	variants, end, err := startVariants(ctx, o, state)
	if err != nil {
		return err
	}
	defer end()
	contenders = append(contenders, variants...)
	for _, role := range []string{roleFloorSonic, roleFloorOwn} {
		p, err := self(ctx, role, pathReady, modelDir(o))
		if err != nil {
			return err
		}
		defer func() { _ = p.stop() }()
		contenders = append(contenders, contender{role, p, false})
	}
	if err := verify(ctx, o, host, data); err != nil {
		return err
	}
	all := slices.DeleteFunc(scenarios(), func(s scenario) bool { return !strings.Contains(s.name, o.scenario) })
	got, limits, err := inTurns(ctx, o, all, contenders, data)
	if err != nil {
		return err
	}
	report(w, o, all, contenders, got, limits)
	return nil
}

// inTurns measures every contender in every scenario, run after run.
func inTurns(ctx context.Context, o options, all []scenario, contenders []contender, data *dataset) (map[string][]sample, map[int][]float64, error) {
	got := map[string][]sample{}
	limits := map[int][]float64{}
	for turn := range o.runs {
		fmt.Fprintf(os.Stderr, "\rrun %d of %d", turn+1, o.runs)
		for _, s := range all {
			body := data.body(s.rows, s.named)
			for i := range contenders {
				c := contenders[(i+turn)%len(contenders)] // the order changes from turn to turn
				m, err := measure(ctx, c.process, c.path(s), body, s.conns, o.warm, o.duration)
				if err != nil {
					return nil, nil, fmt.Errorf("%s, %s: %w", s.name, c.name, err)
				}
				got[s.name+c.name] = append(got[s.name+c.name], m)
			}
		}
		for _, n := range []int{1, 1000} {
			rate, err := measureLimit(ctx, o, data.rows(n))
			if err != nil {
				return nil, nil, err
			}
			limits[n] = append(limits[n], rate)
		}
	}
	fmt.Fprintln(os.Stderr)
	return got, limits, nil
}

// verify checks that the host returns the expected scores.
func verify(ctx context.Context, o options, host *process, data *dataset) error {
	file, err := os.Open(filepath.Join(modelDir(o), "golden.ndjson"))
	if err != nil {
		return fmt.Errorf("reading golden rows: %w", err)
	}
	defer file.Close()
	c, err := dial(ctx, host.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, named := range []bool{true, false} {
		answer, err := c.send(message(host.addr, "/api/v1/predict/batch", "", data.body(1000, named)))
		if err != nil {
			return err
		}
		var batch api.BatchResponse
		if err := json.Unmarshal(answer, &batch); err != nil {
			return fmt.Errorf("reading an answer: %w", err)
		}
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("reading golden rows: %w", err)
		}
		golden := json.NewDecoder(file)
		for i := 0; golden.More(); i++ {
			var want struct{ Score float64 }
			if err := golden.Decode(&want); err != nil {
				return fmt.Errorf("reading golden rows: %w", err)
			}
			if math.Abs(batch.Predictions[i].Score-want.Score) > 1e-6 {
				return fmt.Errorf("row %d: the score is %v, not %v", i, batch.Predictions[i].Score, want.Score)
			}
		}
	}
	return nil
}
