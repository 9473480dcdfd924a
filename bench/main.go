// Command bench measures the host against floors and a limit, and prints tables. Run
// it with `make bench`. `make bench-peers` compares it with other servers.
//
// A floor is an HTTP server that decodes the same bodies but has no model: the host
// cannot cost less. The limit is ONNX Runtime without a server. All servers run on
// this machine and are measured in turns. No result makes the command fail.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm"
	"github.com/pynomaly/pynomaly-runtime/bench/decoders"
)

// Roles in which this binary starts itself.
const (
	roleFloorSonic = "floor-sonic"
	roleFloorOwn   = "floor-own"
	roleLimit      = "limit"
	roleNeighbours = "neighbours"
	rolePeers      = "peers" // the comparison with other servers, which users start
)

type options struct {
	binary, testdata, library string
	other                     string // another host, measured in the same turns; empty: none
	only                      string
	scenario                  string // part of the names of the scenarios of requests to measure; empty: all
	with                      string // hosts to add to requests: key, traces
	runs                      int
	warm, duration            time.Duration
}

func main() {
	if len(os.Args) > 1 {
		if role, ok := roles()[os.Args[1]]; ok {
			exit(role(os.Args[2:]))
			return
		}
	}
	var o options
	flag.StringVar(&o.binary, "binary", "bin/pynomaly-runtime", "the host")
	flag.StringVar(&o.other, "other", "", "another build of the host, for requests and lifecycle in the same turns")
	flag.StringVar(&o.testdata, "testdata", "testdata", "directory with the benchmark's model and rows")
	flag.StringVar(&o.library, "library", os.Getenv("PYNOMALY_BACKENDS_ONNX_LIBRARY"), "ONNX Runtime")
	flag.StringVar(&o.only, "only", "", "parts to run, separated by commas: requests, decoders, allocations, start, lifecycle, reload, metering, plugins, processes, forests, neighbours, costs, files; default all")
	flag.StringVar(&o.scenario, "scenario", "", "part of the names of the scenarios of requests to run; default all")
	flag.StringVar(&o.with, "with", "", "hosts to measure as well in requests, separated by commas: key (callers show an API key), traces (1 % of the requests are recorded and sent)")
	flag.IntVar(&o.runs, "runs", 9, "interleaved runs")
	flag.DurationVar(&o.warm, "warm", 200*time.Millisecond, "warm-up before each measurement")
	flag.DurationVar(&o.duration, "duration", time.Second, "length of each measurement")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(run(ctx, o, os.Stdout))
}

func roles() map[string]func(args []string) error {
	return map[string]func(args []string) error{
		roleFloorSonic: floorSonic,
		roleFloorOwn:   floorOwn,
		roleLimit:      limit,
		roleNeighbours: measureEngine,
		rolePeers:      comparePeers,
		roleReadRows:   readRows,
		roleToParquet:  makeParquet,

		wasm.CompileRole: compileRole,
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, w io.Writer) error {
	fmt.Fprintln(w, machine())
	parts := []struct {
		name string
		run  func(context.Context, options, io.Writer) error
	}{
		{"requests", requests},
		{"allocations", allocations},
		{"start", startUp},
		{"lifecycle", lifecycle},
		{"reload", reload},
		{"metering", metering},
		{"plugins", plugins},
		{"processes", programs},
		{"forests", forests},
		{"neighbours", neighbours},
		{"costs", costs},
		{"files", files},
		{"decoders", func(_ context.Context, o options, w io.Writer) error { return decoders.Compare(o.testdata, w) }},
	}
	for _, p := range parts {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+p.name+",") {
			continue
		}
		fmt.Fprintln(w)
		if err := p.run(ctx, o, w); err != nil {
			return fmt.Errorf("measuring %s: %w", p.name, err)
		}
	}
	return nil
}
