// Package plan turns graphs that are tree ensembles, or that search for the nearest
// training rows, with arithmetic before and behind them, into lists of steps that run
// in Go.
//
// Recognise follows a graph from the score back to its inputs. It knows a few
// operators that treat each row alone. What a graph computes of the number of a
// tree's leaf alone becomes a value of the leaf. That makes one forest of the
// hundreds of operators that skl2onnx writes for an IsolationForest.
//
// A graph with anything else is not recognised; ONNX Runtime serves it.
package plan

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/forest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// Version changes with the results of plans, so that older proofs do not count.
const Version = "2"

// ErrUnknown is wrapped by errors that say why a graph is not recognised.
var ErrUnknown = errors.New("the graph is not recognised")

// unrecognised is the reason why a graph is not recognised. Its text says so once,
// however many reasons it wraps.
type unrecognised struct{ reason error }

func (e *unrecognised) Error() string   { return ErrUnknown.Error() + ": " + e.reason.Error() }
func (e *unrecognised) Unwrap() []error { return []error{ErrUnknown, e.reason} }

func unknown(format string, args ...any) error {
	for i, a := range args {
		if inner, ok := a.(*unrecognised); ok {
			args[i] = inner.reason
		}
	}
	return &unrecognised{fmt.Errorf(format, args...)}
}

// Inputs says which inputs of a graph hold which features.
type Inputs struct {
	Features   []sdk.Feature
	Names      []string // one for all features, or one per feature
	PerFeature bool
	Groups     [][]int // the features of each input, if one takes several; nil: each takes the feature of its index
	Rank       int     // of an input of one feature: 1 or 2
}

// Output says which output is the score.
type Output struct {
	Name   string
	Column int // of an output with several values per row; -1: it has one
}

// Plan computes the score of each row. It does not change and is safe for
// concurrent use.
type Plan struct {
	features  []sdk.Feature
	steps     []step
	constants map[int]float64 // registers that never change
	registers int
	forests   []*wood
	searches  []*search
	tables    [][]float64
	result    int // the register of the score
	states    sync.Pool
}

// wood is a forest with the registers of its columns.
type wood struct {
	forest  *forest.Forest
	columns []int
	direct  bool // the columns are the features of a matrix of float32, in order
}

// state is what one call needs.
type state struct {
	lanes  [][]float64 // by register, one value per row of a block
	blocks []*forest.Block
	looks  []looking
}

// lanes is the number of rows that a step computes at once.
const lanes = forest.BlockRows

func (p *Plan) state() *state {
	if s, ok := p.states.Get().(*state); ok {
		return s
	}
	s := &state{lanes: make([][]float64, p.registers)}
	all := make([]float64, p.registers*lanes)
	for i := range s.lanes {
		s.lanes[i] = all[i*lanes : (i+1)*lanes]
	}
	for register, v := range p.constants {
		for i := range lanes {
			s.lanes[register][i] = v
		}
	}
	for _, w := range p.forests {
		s.blocks = append(s.blocks, w.forest.NewBlock())
	}
	for _, f := range p.searches {
		s.looks = append(s.looks, f.looking())
	}
	return s
}

// Trees returns the number of trees.
func (p *Plan) Trees() int {
	n := 0
	for _, w := range p.forests {
		n += w.forest.Trees()
	}
	return n
}

// Cost estimates from above how long a call of some rows takes.
func (p *Plan) Cost(rows int) time.Duration {
	const perStep, perNode = 100 * time.Nanosecond, 20 * time.Nanosecond
	row := time.Duration(len(p.steps)) * perStep
	for _, w := range p.forests {
		row += time.Duration(w.forest.Reach()) * perNode
	}
	for _, f := range p.searches {
		row += f.index.Cost()
	}
	return time.Duration(rows) * row
}

// Steps returns the number of steps beside forests and searches.
func (p *Plan) Steps() int { return len(p.steps) - len(p.forests) - len(p.searches) }

// Neighbours returns how many training rows are compared with each row, and how many
// of them are looked for; 0: none.
func (p *Plan) Neighbours() (training, nearest int) {
	for _, f := range p.searches {
		training, nearest = training+f.index.Rows(), max(nearest, f.index.K())
	}
	return training, nearest
}

// MemoryBytes estimates the memory that the plan holds.
func (p *Plan) MemoryBytes() int64 {
	n := int64(p.registers) * lanes * 8
	for _, w := range p.forests {
		n += w.forest.MemoryBytes() + int64(len(w.columns))*lanes*8
	}
	for _, f := range p.searches {
		n += f.index.Bytes()
	}
	for _, t := range p.tables {
		n += 8 * int64(len(t))
	}
	return n
}

// Score sets out to the score of each row. It ends early if ctx ends.
func (p *Plan) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	s := p.state()
	defer p.states.Put(s)
	const often = 10 * time.Millisecond
	// Blocks end early if rows take long, and several quick ones go before a look at ctx.
	block := int(min(max(1, often/max(1, p.Cost(1))), lanes))
	look := int(min(max(1, often/max(1, p.Cost(lanes))), 64))
	for from, n := 0, 0; from < in.Rows(); from, n = from+block, n+1 {
		if n%look == look-1 && ctx.Err() != nil {
			return fmt.Errorf("scoring %d rows: %w", in.Rows(), ctx.Err())
		}
		to := min(from+block, in.Rows())
		p.run(s, in, from, to)
		copy(out[from:to], s.lanes[p.result])
	}
	return nil
}

// run computes a block of rows.
func (p *Plan) run(s *state, in *sdk.Batch, from, to int) {
	n := to - from
	for i := range p.steps {
		switch st := &p.steps[i]; st.op {
		case opLoad:
			st.load(s.lanes[st.to][:n], in, from)
		case opWood:
			w, b := p.forests[st.at], s.blocks[st.at]
			if w.direct {
				d := len(p.features)
				b.SetRows(in.Float32s()[from*d:to*d], d, n)
			} else {
				for column, register := range w.columns {
					b.SetColumn(column, s.lanes[register][:n])
				}
			}
			w.forest.Run(b, s.lanes[st.to][:n])
		case opNearest:
			s.looks[st.at].run(p.searches[st.at], s.lanes, in, from, to)
		case opLookUp:
			table, to := p.tables[st.at], s.lanes[st.to]
			for i, row := range s.lanes[st.a][:n] {
				to[i] = table[int(row)]
			}
		default:
			st.compute(s.lanes, n)
		}
	}
}
