package onnx

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/child"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// probeVersion changes with the probe, so that older proofs do not count.
const probeVersion = "3"

// probeJob is the input of the probe's process.
type probeJob struct {
	Library string
	Graph   []byte
	Locales []string // locales that the graph needs
	Binding binding
	Rows    wireBatch
	MaxRows int
	Fewer   bool // if MaxRows rows do not fit the memory, find how many do
	Memory  int64
	Time    time.Duration
}

// probeAnswer is the output of the probe's process.
type probeAnswer struct {
	Finding      finding
	Error        string
	Surroundings bool // Error is about the machine's state, not the graph
	Large        bool // Error says that the graph needs more memory than allowed
}

// wireBatch is a sdk.Batch that gob can encode.
type wireBatch struct {
	Features []sdk.Feature
	Rows     int
	Float32s []float32
	Float64s []float64
	Int64s   []int64
	Columns  []sdk.Column
}

func encodeBatch(b *sdk.Batch) wireBatch {
	w := wireBatch{Features: b.Features(), Rows: b.Rows(), Float32s: b.Float32s(), Float64s: b.Float64s(), Int64s: b.Int64s()}
	if b.Dense() == 0 {
		for j := range b.Features() {
			w.Columns = append(w.Columns, *b.Column(j))
		}
	}
	return w
}

func (w *wireBatch) batch() *sdk.Batch {
	b := sdk.NewBatch(w.Features)
	b.Resize(w.Rows)
	copy(b.Float32s(), w.Float32s)
	copy(b.Float64s(), w.Float64s)
	copy(b.Int64s(), w.Int64s)
	for j, c := range w.Columns {
		*b.Column(j) = c
	}
	return b
}

// tile repeats the rows of b until there are n.
func tile(b *sdk.Batch, n int) *sdk.Batch {
	out := sdk.NewBatch(b.Features())
	out.Resize(n)
	for i := range n {
		out.CopyRow(i, b, i%b.Rows())
	}
	return out
}

// fewerRows is by how much the rows of a call are divided after a call that was too
// large for its process to survive.
const fewerRows = 16

// runFitting runs the probe in child processes until the rows of a call fit its memory.
func runFitting(ctx context.Context, job probeJob, limiter *child.Limiter) (finding, error) {
	for {
		f, err := runChild(ctx, job, limiter)
		if !job.Fewer || job.MaxRows == 1 || !errors.Is(err, errOutgrown) {
			return f, err
		}
		job.MaxRows = max(1, job.MaxRows/fewerRows)
	}
}

// runChild runs the probe in a child process of this binary.
func runChild(ctx context.Context, job probeJob, limiter *child.Limiter) (finding, error) {
	var input bytes.Buffer
	if err := gob.NewEncoder(&input).Encode(job); err != nil {
		return finding{}, fmt.Errorf("encoding the job: %w", err)
	}
	out, err := child.Run(ctx, child.Job{
		Role: ProbeRole, Input: input.Bytes(), Wall: job.Time, CPU: job.Time, Limiter: limiter, Memory: job.expected(),
		Env: []string{"GOMAXPROCS=1", "MALLOC_ARENA_MAX=1", "ORT_DISABLE_TELEMETRY=1"},
	})
	var died *child.DiedError
	var answer probeAnswer
	switch {
	case errors.As(err, &died) && died.Cause.Surroundings():
		return finding{}, fmt.Errorf("%w: %w", backends.ErrSurroundings, died)
	case errors.As(err, &died):
		return finding{}, fmt.Errorf("%w: %w", backends.ErrRefused, reason(died, job))
	case err != nil:
		return finding{}, err
	case json.Unmarshal(out, &answer) != nil:
		return finding{}, fmt.Errorf("%w: its process answered nonsense: %.200q", backends.ErrRefused, out)
	case answer.Surroundings:
		return finding{}, fmt.Errorf("%w: %s", backends.ErrSurroundings, answer.Error)
	case answer.Large:
		return finding{}, fmt.Errorf("%w: %w: %s", backends.ErrRefused, errLarge, answer.Error)
	case answer.Error != "":
		return finding{}, fmt.Errorf("%w: %s", backends.ErrRefused, answer.Error)
	}
	return answer.Finding, nil
}

// The memory that a proof needs. The sample graphs take 92 to 129 MiB, and the
// library takes ten times the bytes of a large graph. The limit is job.Memory.
const (
	proofBase  = 96 << 20
	proofTimes = 12 // times the bytes of the graph
)

// expected estimates the memory that the probe's process needs.
func (j *probeJob) expected() int64 {
	rows := int64(j.MaxRows) * int64(len(j.Rows.Features)) * 16
	return proofBase + min(j.Memory, proofTimes*int64(len(j.Graph))+rows)
}

// reason describes why the graph ended the probe's process.
func reason(died *child.DiedError, job probeJob) error {
	switch died.Cause {
	case child.Late:
		return backends.Ownf("loading it and scoring 1 and %d rows took longer than limits.load_timeout, %v", job.MaxRows, job.Time)
	case child.Busy:
		return backends.Ownf("loading it and scoring 1 and %d rows took more than %v of processor time (limits.load_timeout)", job.MaxRows, job.Time)
	case child.Large:
		return errOutgrown
	case child.Crashed:
		return errors.New("it crashed ONNX Runtime: " + died.Error())
	case child.Forbidden:
		return backends.Ownf("its process ended with %w", died.Err)
	default:
		return errors.New("its process ended with " + died.Error())
	}
}

// The errors of graphs that need more memory than they may have. errOutgrown is that
// of a graph that ended the probe's process.
var (
	errLarge    = backends.Ownf("it needs more memory than limits.memory allows")
	errOutgrown = backends.Ownf("it needs more memory than limits.memory allows")
)

// goSlack is address space for Go's heap and threads beside the model.
const goSlack = 256 << 20

// ProbeRole is the first argument of the probe's process, whose main function
// must only call ProbeMain.
const ProbeRole = "__onnx-probe"

// ProbeMain is the main function of the probe's process. It reads one job,
// limits itself, loads and runs the graph, and writes one answer. Once the
// library and the locales are loaded, it opens no file.
func ProbeMain(stdin io.Reader, stdout io.Writer) error {
	var job probeJob
	if err := gob.NewDecoder(stdin).Decode(&job); err != nil {
		return answer(stdout, finding{}, fmt.Errorf("%w: reading the job: %w", backends.ErrSurroundings, err))
	}
	// The host has loaded this library, so the graph is not the cause.
	if _, err := initialise(job.Library); err != nil {
		return answer(stdout, finding{}, fmt.Errorf("%w: %w", backends.ErrSurroundings, err))
	}
	loadLocales(job.Locales)
	cramped, err := child.LimitSelf(job.Memory+goSlack, job.Time)
	if err != nil {
		return answer(stdout, finding{}, fmt.Errorf("%w: %w", backends.ErrSurroundings, err))
	}
	// From here on the graph is in use.
	if err := child.Confine(false); err != nil {
		return answer(stdout, finding{}, fmt.Errorf("%w: %w", backends.ErrSurroundings, err))
	}
	job.Fewer = job.Fewer && !cramped // what fits here says nothing about the graph
	found, err := runProbe(context.Background(), job)
	if err != nil && cramped && outOfMemory(err) {
		err = fmt.Errorf("%w: %w: %w", backends.ErrSurroundings, child.ErrCramped, err)
	}
	return answer(stdout, found, err)
}

func answer(stdout io.Writer, f finding, err error) error {
	a := probeAnswer{Finding: f}
	if err != nil {
		a.Error, a.Surroundings = err.Error(), errors.Is(err, backends.ErrSurroundings)
		a.Large = outOfMemory(err)
		a.Error = strings.TrimPrefix(a.Error, backends.ErrSurroundings.Error()+": ")
	}
	return json.NewEncoder(stdout).Encode(a)
}
