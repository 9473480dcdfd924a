package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// loadsEach is how often a model is loaded in a run. A model that takes slowLoad or
// longer is loaded only once.
const (
	loadsEach = 5
	slowLoad  = 200 // ms
)

// build is a build of the host. Builds are measured in turns.
type build struct {
	name, binary string
	*process
}

// builds returns the host and the other host, if there is one.
func builds(o options) []*build {
	all := []*build{{name: "host", binary: o.binary}}
	if o.other != "" {
		all = append(all, &build{name: hostOther, binary: o.other})
	}
	return all
}

// loadTimes are the times of loading one model with one build, in milliseconds.
type loadTimes struct{ load, cpu, first []float64 }

// lifecycle measures how long good models take to load and to answer first after
// that, and how long a host takes from its start to its first answer. All models
// have been proved and compiled before. With -other it measures both builds in turns
// and compares them turn by turn.
func lifecycle(ctx context.Context, o options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	models := filepath.Join(dir, "models")
	names, err := sampleModels(o, models)
	if err != nil {
		return err
	}
	all := builds(o)
	got, err := loadAll(ctx, o, all, dir, models, names)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "Loads of proved models, and the first answer after: medians (quartiles) of %d, of slow ones %d, ms\n\n", loadsEach*o.runs, o.runs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "model\tbuild\tload\tprocessor time\tfirst answer")
	var ratio loadTimes
	for _, name := range names {
		for _, b := range all {
			m := got[name+b.name]
			fmt.Fprintf(t, "%s\t%s\t%v\t%v\t%v\n", name, b.name, spreadOf(m.load), spreadOf(m.cpu), spreadOf(m.first))
		}
		if o.other == "" {
			continue
		}
		a, b := got[name+all[0].name], got[name+all[1].name]
		r := loadTimes{ratios(a.load, b.load), ratios(a.cpu, b.cpu), ratios(a.first, b.first)}
		ratio = loadTimes{append(ratio.load, r.load...), append(ratio.cpu, r.cpu...), append(ratio.first, r.first...)}
		fmt.Fprintf(t, "%s\tratio\t%v\t%v\t%v\n", name, spreadOf(r.load), spreadOf(r.cpu), spreadOf(r.first))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if o.other != "" {
		load, cpu, first := spreadOf(ratio.load), spreadOf(ratio.cpu), spreadOf(ratio.first)
		fmt.Fprintf(w, "all models, ratio: load %v, processor time %v, first answer %v; %s\n", load, cpu, first,
			verdict("no slower than 10%", load.median <= 1.1 && cpu.median <= 1.1 && first.median <= 1.1))
	}
	return starts(ctx, o, w, all, dir)
}

// sampleModels copies the sample models to dir and returns their names.
func sampleModels(o options, dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(o.testdata, "models"))
	if err != nil {
		return nil, fmt.Errorf("looking for sample models: %w", err)
	}
	var names []string
	for _, e := range entries {
		if err := copyModel(filepath.Join(o.testdata, "models", e.Name(), "1.0.0"), dir, e.Name()); err != nil {
			return nil, err
		}
		names = append(names, e.Name())
	}
	return names, nil
}

// loadAll loads each model with each build, in turns.
func loadAll(ctx context.Context, o options, all []*build, dir, models string, names []string) (map[string]*loadTimes, error) {
	for i, b := range all {
		addr, err := freeAddress()
		if err != nil {
			return nil, err
		}
		args := append(hostArgs(addr, models, filepath.Join(dir, fmt.Sprint("state", i))), "--model-cache-size", "100")
		if b.process, err = start(ctx, addr, "/ready", b.binary, args...); err != nil {
			return nil, err
		}
		defer func() { _ = b.stop() }()
	}
	got := map[string]*loadTimes{}
	for turn := range 1 + loadsEach*o.runs {
		fmt.Fprintf(os.Stderr, "\rturn %d of %d", turn, loadsEach*o.runs)
		for _, name := range names {
			if m := got[name+all[0].name]; m != nil && len(m.load) > 0 && turn%loadsEach > 0 && median(m.load) > slowLoad {
				continue
			}
			row, err := goldenRow(o, name)
			if err != nil {
				return nil, err
			}
			for i := range all {
				b := all[(i+turn)%len(all)] // the order changes from turn to turn
				load, cpu, first, err := b.loadOnce(ctx, name, row)
				if err != nil {
					return nil, fmt.Errorf("loading %s by %s: %w", name, b.name, err)
				}
				m := got[name+b.name]
				if m == nil {
					m = new(loadTimes)
					got[name+b.name] = m
				}
				if turn == 0 { // the first turn is a warm-up
					continue
				}
				m.load, m.cpu, m.first = append(m.load, millis(load)), append(m.cpu, millis(cpu)), append(m.first, millis(first))
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return got, nil
}

// loadOnce unloads a model, loads it, and sends it a request.
func (b *build) loadOnce(ctx context.Context, name string, row json.RawMessage) (load, cpu, first time.Duration, err error) {
	if err = manage(ctx, b.addr, http.MethodDelete, name, "unload"); err != nil {
		return
	}
	c, err := dial(ctx, b.addr)
	if err != nil {
		return
	}
	defer c.Close()
	before, err := b.cpu()
	if err != nil {
		return
	}
	begin := time.Now()
	if err = manage(ctx, b.addr, http.MethodPost, name, "load"); err != nil {
		return
	}
	loaded := time.Now()
	after, err := b.cpu()
	if err != nil {
		return
	}
	request := message(b.addr, "/api/v1/predict", "", fmt.Appendf(nil, `{"model_id":%q,"data":%s}`, name, row))
	asked := time.Now()
	if _, err = c.send(request); err != nil {
		return
	}
	return loaded.Sub(begin), after - before, time.Since(asked), nil
}

// manage makes a host load or unload a model.
func manage(ctx context.Context, addr, method, name, action string) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+"/api/v1/models/"+name+"/"+action, nil)
	if err != nil {
		return fmt.Errorf("asking to %s: %w", action, err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking to %s: %w", action, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("asking to %s: %w", action, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("asking to %s: %s: %.300s", action, answer.Status, text)
	}
	return nil
}

// goldenRow returns the first golden row of a sample model.
func goldenRow(o options, name string) (json.RawMessage, error) {
	f, err := os.Open(filepath.Join(o.testdata, "models", name, "1.0.0", "golden.ndjson"))
	if err != nil {
		return nil, fmt.Errorf("reading golden rows: %w", err)
	}
	defer f.Close()
	var row struct{ Data json.RawMessage }
	if err := json.NewDecoder(bufio.NewReader(f)).Decode(&row); err != nil {
		return nil, fmt.Errorf("reading golden rows: %w", err)
	}
	return row.Data, nil
}

// starts measures the time from the start of a host with ten models to its first
// answer.
func starts(ctx context.Context, o options, w io.Writer, all []*build, dir string) error {
	const models = 10
	data, err := readDataset(o)
	if err != nil {
		return err
	}
	for i := range models {
		if err := copyModel(modelDir(o), filepath.Join(dir, "forests"), fmt.Sprintf("forest-%d", i)); err != nil {
			return err
		}
	}
	took := map[string][]float64{}
	for turn := range 1 + o.runs {
		for i := range all {
			at := (i + turn) % len(all)
			own := o
			own.binary = all[at].binary
			d, host, err := firstAnswer(ctx, own, filepath.Join(dir, "forests"), filepath.Join(dir, fmt.Sprint("forests", at)), data)
			if err != nil {
				return err
			}
			if err := errors.Join(waitLoaded(ctx, host, models), host.stop()); err != nil {
				return err
			}
			if turn > 0 { // the first turn proves the models
				took[all[at].name] = append(took[all[at].name], millis(d))
			}
		}
	}
	fmt.Fprintf(w, "\nStart to first answer with %d fused models, proved before: medians (quartiles) of %d, ms\n", models, o.runs)
	for _, b := range all {
		fmt.Fprintf(w, "%s %v\n", b.name, spreadOf(took[b.name]))
	}
	if o.other != "" {
		r := spreadOf(ratios(took[all[0].name], took[all[1].name]))
		fmt.Fprintf(w, "ratio %v; %s\n", r, verdict("no slower than 10%", r.median <= 1.1))
	}
	return nil
}
