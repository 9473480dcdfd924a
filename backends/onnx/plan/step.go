package plan

import (
	"math"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// op is what a step computes of one to three numbers.
type op uint8

const (
	opLoad    op = iota // a feature; of a text, whether it is the step's
	opWood              // a forest
	opNearest           // the nearest training rows
	opLookUp            // a number of a table, by its place
	opAdd
	opSub
	opMul
	opDiv
	opPow
	opMax
	opMin
	opLarger // as opMax, but NaN is passed over
	opNeg
	opAbs
	opExp
	opLog
	opSqrt
	opSigmoid
	opLogistic // as tree ensembles compute it
	opTanh
	opFloor
	opCeil
	opReciprocal
	opSign
	opNot
	opAnd
	opOr
	opEqual
	opLess
	opGreater
	opLessOrEqual
	opGreaterOrEqual
	opWhere
	opIsNaN
	opTruth // 1 if not 0
	opTruncate
	opCopy
)

// step computes one register for each row. The operations of float32 are those
// of float64, rounded: for sums, products, quotients and roots that gives the
// same bits as float32 does.
type step struct {
	op      op
	single  bool // round to float32
	to      int
	a, b, c int    // registers
	at      int    // the feature, the forest, the search or the table
	text    string // of opLoad
}

// load reads a feature of the rows from from on.
func (s *step) load(to []float64, in *sdk.Batch, from int) {
	d, j := len(in.Features()), s.at
	switch in.Dense() {
	case sdk.Float32:
		x := in.Float32s()[from*d:]
		for i := range to {
			to[i] = float64(x[i*d+j])
		}
		return
	case sdk.Float64:
		x := in.Float64s()[from*d:]
		for i := range to {
			to[i] = s.round(x[i*d+j])
		}
		return
	case sdk.Int64:
		s.integers(to, in.Int64s()[from*d+j:], d)
		return
	}
	switch c := in.Column(j); c.DType {
	case sdk.Float32:
		for i, v := range c.Float32s[from : from+len(to)] {
			to[i] = float64(v)
		}
	case sdk.Float64:
		for i, v := range c.Float64s[from : from+len(to)] {
			to[i] = s.round(v)
		}
	case sdk.Int64:
		s.integers(to, c.Int64s[from:], 1)
	case sdk.Bool:
		for i, v := range c.Bools[from : from+len(to)] {
			to[i] = truth(v)
		}
	case sdk.String:
		for i, v := range c.Strings[from : from+len(to)] {
			to[i] = truth(v == s.text)
		}
	}
}

// integers rounds integers once.
func (s *step) integers(to []float64, x []int64, stride int) {
	for i := range to {
		v := x[i*stride]
		if s.single {
			to[i] = float64(float32(v))
		} else {
			to[i] = float64(v)
		}
	}
}

func (s *step) round(v float64) float64 {
	if s.single {
		return float64(float32(v))
	}
	return v
}

func (s *step) compute(r [][]float64, n int) {
	to, a := r[s.to][:n], r[s.a][:n]
	b, c := a, a
	switch s.op.operands() {
	case 2:
		b = r[s.b][:n]
	case 3:
		b, c = r[s.b][:n], r[s.c][:n]
	}
	switch {
	case s.op == opAdd && s.single:
		for i := range to {
			to[i] = float64(float32(a[i] + b[i]))
		}
	case s.op == opSub && s.single:
		for i := range to {
			to[i] = float64(float32(a[i] - b[i]))
		}
	case s.op == opMul && s.single:
		for i := range to {
			to[i] = float64(float32(a[i] * b[i]))
		}
	default:
		for i := range to {
			to[i] = s.round(s.op.of(a[i], b[i], c[i], s.single))
		}
	}
}

// operands returns how many numbers an operation takes.
func (o op) operands() int {
	switch o {
	case opLoad, opWood, opNearest:
		return 0
	case opAdd, opSub, opMul, opDiv, opPow, opMax, opMin, opLarger, opAnd, opOr, opEqual, opLess, opGreater, opLessOrEqual, opGreaterOrEqual:
		return 2
	case opWhere:
		return 3
	}
	return 1
}

func truth(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

// of returns the operation's result, not rounded.
func (o op) of(a, b, c float64, single bool) float64 {
	switch o {
	case opAdd:
		return a + b
	case opSub:
		return a - b
	case opMul:
		return a * b
	case opDiv:
		return a / b
	case opPow:
		if a == 2 {
			return math.Exp2(b)
		}
		return math.Pow(a, b)
	case opMax:
		return max(a, b)
	case opMin:
		return min(a, b)
	case opLarger:
		if a < b {
			return b
		}
		return a
	case opAnd:
		return truth(a != 0 && b != 0)
	case opOr:
		return truth(a != 0 || b != 0)
	case opEqual:
		return truth(a == b)
	case opLess:
		return truth(a < b)
	case opGreater:
		return truth(a > b)
	case opLessOrEqual:
		return truth(a <= b)
	case opGreaterOrEqual:
		return truth(a >= b)
	case opWhere:
		if a != 0 {
			return b
		}
		return c
	}
	return o.of1(a, single)
}

// of1 returns the result of an operation on one number.
func (o op) of1(a float64, single bool) float64 {
	switch o {
	case opNeg:
		return -a
	case opAbs:
		return math.Abs(a)
	case opExp:
		return math.Exp(a)
	case opLog:
		return math.Log(a)
	case opSqrt:
		return math.Sqrt(a)
	case opSigmoid:
		return 1 / (1 + math.Exp(-a))
	case opLogistic:
		return logistic(a, single)
	case opTanh:
		return math.Tanh(a)
	case opFloor:
		return math.Floor(a)
	case opCeil:
		return math.Ceil(a)
	case opReciprocal:
		return 1 / a
	case opSign:
		if a != a {
			return a
		}
		return truth(a > 0) - truth(a < 0)
	case opNot:
		return truth(a == 0)
	case opIsNaN:
		return truth(math.IsNaN(a))
	case opTruth:
		return truth(a != 0)
	case opTruncate:
		return math.Trunc(a)
	}
	return a
}

// logistic is the logistic function as tree ensembles compute it.
func logistic(a float64, single bool) float64 {
	if !single {
		v := 1 / (1 + math.Exp(-math.Abs(a)))
		if a < 0 {
			return 1 - v
		}
		return v
	}
	v := 1 / (1 + float32(math.Exp(-math.Abs(a))))
	if a < 0 {
		v = 1 - v
	}
	return float64(v)
}
