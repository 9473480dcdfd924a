// Command faulty is a process plugin for tests. It misbehaves as plugin.json of its
// model says. A row's score is the sum of its values, where a string counts with its
// length.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/pynomaly/pynomaly-runtime/sdk"
	"github.com/pynomaly/pynomaly-runtime/sdk/process"
)

// settings say how the plugin misbehaves.
type settings struct {
	Fault       string   `json:"fault"`
	DType       *string  `json:"dtype"`
	Features    []string `json:"features"`
	Stateful    bool     `json:"stateful"`
	Concurrency int      `json:"concurrency"`
	Delay       int      `json:"delay"` // milliseconds per call
	Mark        string   `json:"mark"`  // the seconds for which orphans sleep
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == scatterRole {
		scatter(os.Args[2])
		return
	}
	s := settings{Concurrency: 4}
	if data, err := os.ReadFile("plugin.json"); err == nil {
		if err := json.Unmarshal(data, &s); err != nil {
			panic(err)
		}
	}
	atStart(s)
	switch s.Fault {
	case "short-reply", "bad-rows", "huge-reply", "bad-dtype", "bad-orientation", "many-features", "greedy":
		serveRaw(s.Fault)
		return
	}
	d := &detector{settings: s}
	process.Serve(process.Detector{
		Describe: func() process.Description {
			dtype := "float64"
			if s.DType != nil {
				dtype = *s.DType
			}
			return process.Description{
				Name: "faulty", Version: "1.0.0", Algorithm: "sum", DType: dtype, Features: s.Features, Stateful: s.Stateful,
				Concurrency: s.Concurrency, Explains: true, Learns: true,
			}
		},
		Open: func(_ context.Context, setup process.Setup) (sdk.Scorer, error) {
			d.features = setup.Features
			switch s.Fault {
			case "refuses":
				return nil, fmt.Errorf("%w: config is %s", process.ErrInvalid, setup.Config)
			case "panics":
				panic("at configure")
			case "dies":
				os.Exit(7)
			case "hangs":
				time.Sleep(time.Hour)
			}
			return d, nil
		},
	})
}

// atStart runs the faults before the handshake.
func atStart(s settings) {
	switch s.Fault {
	case "exit":
		fmt.Fprintln(os.Stderr, "cannot find libfancy.so")
		os.Exit(3)
	case "silent":
		time.Sleep(time.Hour)
	case "garbage":
		fmt.Println("Hello from a library that prints a banner")
		time.Sleep(time.Hour)
	case "long":
		fmt.Print(strings.Repeat("x", 2<<20))
		time.Sleep(time.Hour)
	case "banner":
		fmt.Println("Hello from a library that prints a banner")
		fmt.Print("and from one that ends no line")
	case "elsewhere":
		fmt.Println("1|1|unix|/var/run/docker.sock|grpc|")
		time.Sleep(time.Hour)
	case "tcp":
		fmt.Println("1|1|tcp|127.0.0.1:22|grpc|")
		time.Sleep(time.Hour)
	case "closes":
		_ = os.Stdout.Close()
		time.Sleep(time.Hour)
	case "level":
		fmt.Fprintln(os.Stderr, `{"@level":1}`)
		fmt.Fprintln(os.Stderr, `{"@message":["x"],"@timestamp":{}}`)
		fmt.Fprintln(os.Stderr, `{"@message":"well-formed","@level":"warn","@timestamp":7,"key":"value"}`)
	case "gigabyte":
		line := []byte(strings.Repeat("spam ", 200) + "\n")
		for n := 0; n < 1<<30; n += len(line) {
			_, _ = os.Stderr.Write(line)
		}
	case "children":
		if err := exec.Command("/bin/sleep", "3600").Start(); err != nil { //nolint:noctx // it must outlive this process
			panic(err)
		}
	case "orphans":
		// Each child has its own session and an empty environment, and its parent
		// ends.
		script := "i=0; while [ $i -lt " + fmt.Sprint(orphans) + " ]; do setsid env -i sleep " + s.Mark + " </dev/null >/dev/null 2>&1 & i=$((i+1)); done"
		if out, err := exec.Command("/bin/sh", "-c", script).CombinedOutput(); err != nil { //nolint:noctx,gosec // as above
			panic(fmt.Sprintf("%v: %s", err, out))
		}
	}
}

// orphans is how many processes the fault "orphans" leaves.
const orphans = 250

type detector struct {
	settings
	features []sdk.Feature
	calls    atomic.Int64

	mu      sync.Mutex
	learned uint64
	hoard   [][]byte
	files   []*os.File
	sick    bool
}

func (d *detector) Info() sdk.Info {
	return sdk.Info{Name: "faulty", Features: d.features, Concurrency: d.Concurrency, Stateful: d.Stateful}
}

func (*detector) Close() error { return nil }

// Score adds a row's values. Some first values trigger a fault instead.
func (d *detector) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if err := d.unwell(); err != nil {
		return err
	}
	if d.Fault == "tells" {
		told, _ := metadata.FromIncomingContext(ctx)
		fmt.Fprintln(os.Stderr, "traceparent", told.Get("traceparent"), "tracestate", told.Get("tracestate"))
	}
	if d.Fault == "banner" { // as a C library prints
		if _, err := syscall.Write(1, []byte("Hello from within a call\n")); err != nil {
			return err
		}
	}
	if d.Delay > 0 {
		select {
		case <-time.After(time.Duration(d.Delay) * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	failed := &sdk.RowErrors{}
	for i := range out {
		sum := sumOf(in, i)
		if math.IsNaN(sum) {
			failed.Rows = append(failed.Rows, sdk.RowError{Row: i, Field: in.Features()[0].Name, Reason: "is missing"})
		}
		if err := d.fault(in, i); err != nil {
			return err
		}
		out[i] = sum
		if d.Fault == "nan" {
			out[i] = math.NaN()
		}
		if d.Stateful {
			d.mu.Lock()
			out[i] = float64(d.learned)
			d.mu.Unlock()
		}
	}
	if len(failed.Rows) > 0 {
		return failed
	}
	return nil
}

// sumOf adds a row's values.
func sumOf(in *sdk.Batch, i int) float64 {
	sum := 0.0
	for j := range in.Features() {
		switch v := in.Value(i, j).(type) {
		case float64:
			sum += v
		case float32:
			sum += float64(v)
		case int64:
			sum += float64(v)
		case bool:
			if v {
				sum++
			}
		case string:
			sum += float64(len(v))
		}
	}
	return sum
}

// fault triggers the fault that the first value of a row asks for.
func (d *detector) fault(in *sdk.Batch, i int) error {
	const (
		crash, hang, slow, forks, memory, panics, again = -1001, -1002, -1003, -1004, -1005, -1006, -1007
		leaks, sickens, scatters                        = -1008, -1009, -1010
	)
	first, _ := in.Value(i, 0).(float64)
	switch first {
	case crash:
		os.Exit(9)
	case hang:
		time.Sleep(time.Hour)
	case slow:
		time.Sleep(700 * time.Millisecond) // ignores ctx
	case forks:
		bomb()
	case memory:
		d.eat()
	case panics:
		panic("at a row")
	case leaks:
		d.leak()
	case sickens:
		d.mu.Lock()
		d.sick = true
		d.mu.Unlock()
	case scatters:
		scatter("9")
		time.Sleep(time.Minute)
	case again:
		if d.calls.Add(1) == 1 || d.Fault == "never" {
			return process.Unavailable("warming up")
		}
	}
	return nil
}

// Explain returns each column's value as its contribution.
func (*detector) Explain(ctx context.Context, in *sdk.Batch, out []float64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	width := len(in.Features())
	for i := range in.Rows() {
		copy(out[i*(1+width)+1:(i+1)*(1+width)], in.Float64s()[i*width:])
	}
	return nil
}

// Learn counts rows.
func (d *detector) Learn(_ context.Context, in *sdk.Batch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.learned += uint64(in.Rows())
	return nil
}

// Save returns the count.
func (d *detector) Save(context.Context) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return binary.LittleEndian.AppendUint64(nil, d.learned), nil
}

// Load restores a count.
func (d *detector) Load(_ context.Context, state []byte) error {
	if len(state) != 8 || d.Fault == "forgets" {
		return errors.New("a state has 8 bytes")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.learned = binary.LittleEndian.Uint64(state)
	return nil
}

// unwell fails or panics if a former row has made the detector sick. The fault
// "files" needs a file for each call.
func (d *detector) unwell() error {
	d.mu.Lock()
	sick := d.sick
	d.mu.Unlock()
	if sick {
		panic("it is sick")
	}
	if d.Fault != "files" {
		return nil
	}
	d.mu.Lock()
	leaking := len(d.files) > 0
	d.mu.Unlock()
	if leaking {
		d.leak() // what was closed meanwhile leaks, too
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("reading a table: %w", err)
	}
	return f.Close()
}

// leak opens files until that fails.
func (d *detector) leak() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return
		}
		d.files = append(d.files, f)
	}
}

// bomb starts as many processes as it can, up to a number that is harmless.
func bomb() {
	for range 3000 {
		if err := exec.Command("/bin/sleep", "60").Start(); err != nil { //nolint:noctx // that is the attack
			time.Sleep(10 * time.Millisecond)
		}
	}
	time.Sleep(time.Minute)
}

const scatterRole = "scatter"

// scatter starts processes that do the same, each in its own session, to the given
// depth.
func scatter(depth string) {
	var n int
	if _, err := fmt.Sscan(depth, &n); err != nil || n <= 0 {
		return
	}
	for range 2 {
		cmd := exec.Command("/proc/self/exe", scatterRole, fmt.Sprint(n-1)) //nolint:noctx,gosec // that is the attack
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		_ = cmd.Start() // it may not be allowed any more
	}
	if len(os.Args) == 3 {
		time.Sleep(time.Minute)
	}
}

// eat allocates memory until the process is stopped.
func (d *detector) eat() {
	for {
		block := make([]byte, 16<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		d.mu.Lock()
		d.hoard = append(d.hoard, block)
		d.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
	}
}
