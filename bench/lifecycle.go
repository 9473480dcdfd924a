package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"
)

// allocations counts the host's heap allocations for batches.
func allocations(ctx context.Context, o options, w io.Writer) error {
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
	c, err := dial(ctx, host.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "Allocations\ta request\ta row")
	for _, s := range scenarios() {
		if s.conns == 32 || (s.rows == 1 && s.conns != 1) {
			continue
		}
		request := message(host.addr, s.host, "", data.body(s.rows, s.named))
		a, err := allocated(host, c, request)
		if err != nil {
			return err
		}
		note := ""
		if s.rows > 1 {
			note = verdict("under 0.1 a row", a/float64(s.rows) < 0.1)
		}
		fmt.Fprintf(t, "%d %s\t%.1f\t%.4f\t%s\n", s.rows, map[bool]string{true: "named", false: "as arrays"}[s.named], a, a/float64(s.rows), note)
	}
	return t.Flush()
}

// allocated returns the host's number of allocations for a request.
func allocated(host *process, c *connection, request []byte) (float64, error) {
	const n = 500
	many := func() error {
		for range n {
			if _, err := c.send(request); err != nil {
				return err
			}
		}
		return nil
	}
	if err := many(); err != nil {
		return 0, err
	}
	before, err := host.metric("go_memstats_mallocs_total")
	if err != nil {
		return 0, err
	}
	if err := many(); err != nil {
		return 0, err
	}
	after, err := host.metric("go_memstats_mallocs_total")
	if err != nil {
		return 0, err
	}
	// Reading the metrics allocates, too. Measure that alone and subtract it.
	again, err := host.metric("go_memstats_mallocs_total")
	if err != nil {
		return 0, err
	}
	return max(0, (after-before)-(again-after)) / n, nil
}

// startUp measures the time from starting a host with ten models to its first
// answer, first without and then with proofs of the graphs.
func startUp(ctx context.Context, o options, w io.Writer) error {
	const models = 10
	data, err := readDataset(o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	for i := range models {
		if err := copyModel(modelDir(o), filepath.Join(dir, "models"), fmt.Sprintf("forest-%d", i)); err != nil {
			return err
		}
	}
	var first, cold, idle []float64
	for i := range o.runs {
		state := filepath.Join(dir, fmt.Sprintf("state-%d", i))
		for _, to := range []*[]float64{&first, &cold} {
			took, host, err := firstAnswer(ctx, o, filepath.Join(dir, "models"), state, data)
			if err != nil {
				return err
			}
			*to = append(*to, took.Seconds())
			if to == &cold {
				if err := waitLoaded(ctx, host, models); err != nil {
					return errors.Join(err, host.stop())
				}
				size, err := host.resident()
				if err != nil {
					return errors.Join(err, host.stop())
				}
				idle = append(idle, float64(size)/(1<<20))
			}
			if err := host.stop(); err != nil {
				return err
			}
		}
	}
	a, b, c := spreadOf(first), spreadOf(cold), spreadOf(idle)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Start with %d fused models: median (quartiles) of %d\n", models, o.runs)
	fmt.Fprintf(t, "start to first answer, never proved before, s\t%v\t%s\n", a, verdict("under 0.5", a.median < 0.5))
	fmt.Fprintf(t, "start to first answer, proved before, s\t%v\t%s\n", b, verdict("under 0.5", b.median < 0.5))
	fmt.Fprintf(t, "idle resident memory, all loaded, MiB\t%v\t%s\n", c, verdict("under 100", c.median < 100))
	return t.Flush()
}

// firstAnswer starts a host and sends requests to its last model until it answers.
func firstAnswer(ctx context.Context, o options, models, state string, data *dataset) (time.Duration, *process, error) {
	addr, err := freeAddress()
	if err != nil {
		return 0, nil, err
	}
	cmd := exec.CommandContext(ctx, o.binary, hostArgs(addr, models, state)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	p := &process{cmd: cmd, addr: addr}
	body := data.body(1, true)
	body = append([]byte(`{"model_id":"forest-9"`), body[len(`{"model_id":"forest"`):]...)
	request := message(addr, "/api/v1/predict", "", body)
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, nil, fmt.Errorf("starting the host: %w", err)
	}
	for time.Since(begin) < 30*time.Second {
		if c, err := dial(ctx, addr); err == nil {
			_, err = c.send(request)
			_ = c.Close()
			if err == nil {
				return time.Since(begin), p, nil
			}
		}
		time.Sleep(time.Millisecond)
	}
	return 0, nil, errors.Join(errors.New("the host gave no answer in 30 s"), p.stop())
}

func waitLoaded(ctx context.Context, p *process, models int) error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/health", nil)
		if err != nil {
			return fmt.Errorf("asking for health: %w", err)
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("asking for health: %w", err)
		}
		var health struct {
			Loaded int `json:"loaded_models"`
		}
		err = json.NewDecoder(answer.Body).Decode(&health)
		_ = answer.Body.Close()
		if err != nil {
			return fmt.Errorf("reading health: %w", err)
		}
		if health.Loaded == models {
			return nil
		}
	}
	return fmt.Errorf("the host did not load %d models in 30 s", models)
}

// reload loads and unloads a model many times and measures the memory.
func reload(ctx context.Context, o options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "bench-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	const name = "cardio-iforest-fused"
	if err := copyModel(filepath.Join(o.testdata, "models", name, "1.0.0"), filepath.Join(dir, "models"), name); err != nil {
		return err
	}
	host, err := startHost(ctx, o, filepath.Join(dir, "models"), filepath.Join(dir, "state"))
	if err != nil {
		return err
	}
	defer func() { _ = host.stop() }()
	const early, late = 20, 200
	var after20 int64
	for i := 1; i <= late; i++ {
		if err := errors.Join(manage(ctx, host.addr, http.MethodDelete, name, "unload"), manage(ctx, host.addr, http.MethodPost, name, "load")); err != nil {
			return err
		}
		if i == early {
			if after20, err = host.resident(); err != nil {
				return err
			}
		}
	}
	after200, err := host.resident()
	if err != nil {
		return err
	}
	growth := float64(after200)/float64(after20) - 1
	fmt.Fprintf(w, "Loads and unloads of %s: resident %.1f MiB after %d, %.1f MiB after %d: %+.1f%%; %s\n", name,
		float64(after20)/(1<<20), early, float64(after200)/(1<<20), late, 100*growth, verdict("within 10%", growth <= 0.1))
	return nil
}
