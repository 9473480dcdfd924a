package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	ort "github.com/yalue/onnxruntime_go"
)

// limit runs ONNX Runtime in one goroutine and one thread for a second, and prints
// the rows per second. args are the library, the model, the number of features and
// the number of rows per call.
func limit(args []string) error {
	width, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return fmt.Errorf("reading the number of features: %w", err)
	}
	rows, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return fmt.Errorf("reading the number of rows: %w", err)
	}
	ort.SetSharedLibraryPath(args[0])
	if err := ort.InitializeEnvironment(); err != nil {
		return fmt.Errorf("loading ONNX Runtime: %w", err)
	}
	o, err := ort.NewSessionOptions()
	if err != nil {
		return fmt.Errorf("making session options: %w", err)
	}
	if err := o.SetIntraOpNumThreads(1); err != nil {
		return fmt.Errorf("setting threads: %w", err)
	}
	session, err := ort.NewDynamicAdvancedSession(args[1], []string{"X"}, []string{"scores"}, o)
	if err != nil {
		return fmt.Errorf("loading the model: %w", err)
	}
	data := make([]float32, 0, rows*width)
	if err := json.NewDecoder(os.Stdin).Decode(&data); err != nil {
		return fmt.Errorf("reading the rows: %w", err)
	}
	in, err := ort.NewTensor(ort.NewShape(rows, width), data)
	if err != nil {
		return fmt.Errorf("making the input: %w", err)
	}
	out, err := ort.NewEmptyTensor[float32](ort.NewShape(rows, 1))
	if err != nil {
		return fmt.Errorf("making the output: %w", err)
	}
	inputs, outputs := []ort.Value{in}, []ort.Value{out}
	for warm := time.Now(); time.Since(warm) < 100*time.Millisecond; {
		if err := session.Run(inputs, outputs); err != nil {
			return fmt.Errorf("running: %w", err)
		}
	}
	calls, begin := 0, time.Now()
	for time.Since(begin) < 700*time.Millisecond {
		if err := session.Run(inputs, outputs); err != nil {
			return fmt.Errorf("running: %w", err)
		}
		calls++
	}
	fmt.Println(float64(int64(calls)*rows) / time.Since(begin).Seconds())
	return nil
}

// measureLimit returns ONNX Runtime's rows per second.
func measureLimit(ctx context.Context, o options, data [][]float32) (float64, error) {
	exe, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("finding this binary: %w", err)
	}
	var flat []float32
	for _, row := range data {
		flat = append(flat, row...)
	}
	model := filepath.Join(modelDir(o), "model.onnx")
	cmd := exec.CommandContext(ctx, exe, roleLimit, o.library, model, strconv.Itoa(len(data[0])), strconv.Itoa(len(data)))
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, fmt.Errorf("measuring the limit: %w", err)
	}
	go func() {
		_ = json.NewEncoder(in).Encode(flat)
		_ = in.Close()
	}()
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("measuring the limit: %w", err)
	}
	var rate float64
	_, err = fmt.Sscan(string(out), &rate)
	return rate, err
}

func modelDir(o options) string {
	return filepath.Join(o.testdata, "bench", "models", "forest", "1.0.0")
}
