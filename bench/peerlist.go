package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/pynomaly/pynomaly-runtime/bench/peers"
)

// peer is a server of the comparison.
type peer struct {
	id, name string
	venv     string                  // virtual environment that it needs; empty: none
	prepare  func(addr string) error // writes what a start needs; nil: nothing
	args     func(addr string) []string
	env      []string
	dir      string // working directory
	kinds    []kind
	host     bool // it is this project's host
}

// kind is a kind of request, which makes a row of the tables.
type kind struct {
	rows      string // peers.RowsNamed or peers.RowsArrays
	one, many string // paths for a single row and for several
	body      func(rows int) []byte
	decode    peers.Decode // nil: answers hold no scores
}

// allPeers returns the servers, each with its requests.
func allPeers(o peerOptions, data *dataset) []*peer {
	model := filepath.Join(o.out, "model")
	fitted, converted := filepath.Join(model, "forest.joblib"), filepath.Join(model, "forest.onnx")
	fused := filepath.Join(modelDir(o.options), "model.onnx")
	data = numbered(data)
	python := func(id, name, venv, model string, args func(port string) []string) *peer {
		return &peer{
			id: id, name: name, venv: venv, dir: o.servers,
			env:     append(singleThreaded(), "MODEL="+model, "WORKERS="+strconv.Itoa(runtime.NumCPU()), "RAY_DIR="+o.ray),
			prepare: func(string) error { return os.RemoveAll(o.ray) },
			args: func(addr string) []string {
				_, port, _ := net.SplitHostPort(addr)
				args := args(port)
				args[0] = filepath.Join(o.venvs, venv, "bin", args[0])
				return args
			},
			kinds: []kind{{peers.RowsArrays, "/predict", "/predict", data.lists, peers.DecodeScores}},
		}
	}
	fastAPI := func(port string) []string {
		// By default, workers that take 5 s to load their model are ended again and again.
		const patience = "120"
		return []string{"uvicorn", "serve_fastapi:app", "--port", port, "--workers", strconv.Itoa(runtime.NumCPU()),
			"--timeout-worker-healthcheck", patience, "--no-access-log", "--log-level", "warning"}
	}
	program := func(file string) func(string) []string {
		return func(port string) []string { return []string{"python", file, port} }
	}
	bento := func(port string) []string {
		return []string{"bentoml", "serve", "serve_bentoml:Forest", "--host", "127.0.0.1", "--port", port}
	}
	return []*peer{
		o.host("host-skl2onnx", "pynomaly-runtime, graph of skl2onnx", "skl2onnx", data, peers.DecodeOriented),
		o.host("host-fused", "pynomaly-runtime, fused graph", "fused", data, peers.DecodeHost),
		floorPeer(o, data),
		python("fastapi-fused", "FastAPI + ONNX Runtime, fused graph", "fastapi", fused, fastAPI),
		python("fastapi-skl2onnx", "FastAPI + ONNX Runtime, graph of skl2onnx", "fastapi", converted, fastAPI),
		python("fastapi-sklearn", "FastAPI + scikit-learn", "fastapi", fitted, fastAPI),
		python("bentoml", "BentoML + scikit-learn", "bentoml", fitted, bento),
		python("litserve", "LitServe + scikit-learn", "litserve", fitted, program("serve_litserve.py")),
		python("ray", "Ray Serve + scikit-learn", "ray", fitted, program("serve_ray.py")),
		mlserver(o, data, "mlserver-inline", "MLServer + scikit-learn, in one process", map[string]any{"parallel_workers": 0, "debug": false}),
		mlserver(o, data, "mlserver", "MLServer + scikit-learn, defaults", map[string]any{}),
	}
}

// singleThreaded are the settings that keep libraries from starting threads for a
// call: parallelism comes from requests.
func singleThreaded() []string {
	return []string{"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1"}
}

// host returns the host with one graph in its models directory, as users drop it there.
// models names the graph.
func (o peerOptions) host(id, name, models string, data *dataset, decode peers.Decode) *peer {
	request := func(named bool) func(int) []byte {
		return func(rows int) []byte {
			return bytes.Replace(data.body(rows, named), []byte(`"forest"`), strconv.AppendQuote(nil, models), 1)
		}
	}
	state := filepath.Join(o.out, "state")
	const one, many = "/api/v1/predict", "/api/v1/predict/batch"
	return &peer{
		id: id, name: name, host: true, dir: o.out,
		prepare: func(string) error { return os.RemoveAll(state) }, // so that each start is a first one
		args: func(addr string) []string {
			return append([]string{o.binary}, hostArgs(addr, filepath.Join(o.out, "models-"+models), state)...)
		},
		kinds: []kind{
			{peers.RowsNamed, one, many, request(true), decode},
			{peers.RowsArrays, one, many, request(false), decode},
		},
	}
}

func floorPeer(o peerOptions, data *dataset) *peer {
	request := func(named bool) func(int) []byte {
		return func(rows int) []byte { return data.body(rows, named) }
	}
	return &peer{
		id: "floor", name: "floor: fiber and sonic, no model", dir: o.out,
		args: func(addr string) []string { return []string{o.self, roleFloorSonic, addr} },
		kinds: []kind{
			{peers.RowsNamed, pathNamed, pathNamedRows, request(true), nil},
			{peers.RowsArrays, pathArray, pathArrayRows, request(false), nil},
		},
	}
}

// mlserver returns MLServer. settings are those beside the addresses.
func mlserver(o peerOptions, data *dataset, id, name string, settings map[string]any) *peer {
	const path = "/v2/models/forest/infer"
	dir := filepath.Join(o.out, "model", id)
	return &peer{
		id: id, name: name, venv: "mlserver", dir: dir, env: singleThreaded(),
		prepare: func(addr string) error { return writeMLServer(o, dir, addr, settings) },
		args: func(string) []string {
			return []string{filepath.Join(o.venvs, "mlserver", "bin", "mlserver"), "start", "."}
		},
		kinds: []kind{{peers.RowsArrays, path, path, data.tensor, peers.DecodeTensor}},
	}
}

// writeMLServer writes the files that MLServer reads from its working directory.
func writeMLServer(o peerOptions, dir, addr string, more map[string]any) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("writing MLServer's settings: %w", err)
	}
	settings := maps.Clone(more)
	settings["host"], settings["http_port"] = host, json.Number(port)
	for _, name := range []string{"grpc_port", "metrics_port"} {
		free, err := freeAddress()
		if err != nil {
			return err
		}
		_, port, _ := net.SplitHostPort(free)
		settings[name] = json.Number(port)
	}
	model := map[string]any{
		"name":           "forest",
		"implementation": "mlserver_sklearn.SKLearnModel",
		"parameters":     map[string]any{"uri": filepath.Join(o.out, "model", "forest.joblib"), "extra": map[string]any{"predict_fn": "decision_function"}},
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing MLServer's settings: %w", err)
	}
	for file, content := range map[string]any{"settings.json": settings, "model-settings.json": model} {
		text, err := json.Marshal(content)
		if err != nil {
			return fmt.Errorf("writing MLServer's settings: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			return fmt.Errorf("writing MLServer's settings: %w", err)
		}
	}
	return nil
}

// numbered returns the rows with the names that the host gives to the 30 columns of a
// graph that names none.
func numbered(d *dataset) *dataset {
	out := &dataset{text: d.text, values: d.values}
	for i := range d.names {
		out.names = append(out.names, fmt.Sprintf("f%02d", i))
	}
	return out
}

// lists returns {"data": [[...], ...]}, with one list for a single row, too.
func (d *dataset) lists(rows int) []byte {
	b := []byte(`{"data":[`)
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '['), d.numbers(i)...), ']')
	}
	return append(b, "]}"...)
}

// tensor returns a request of the Open Inference Protocol.
func (d *dataset) tensor(rows int) []byte {
	b := fmt.Appendf(nil, `{"inputs":[{"name":"x","shape":[%d,%d],"datatype":"FP32","data":[`, rows, len(d.names))
	for i := range rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, d.numbers(i)...)
	}
	return append(b, "]}]}"...)
}

// numbers returns a row's numbers, separated by commas. After the last row comes the
// first.
func (d *dataset) numbers(row int) []byte {
	var b []byte
	for j, text := range d.text[row%len(d.text)] {
		if j > 0 {
			b = append(b, ',')
		}
		b = append(b, text...)
	}
	return b
}
