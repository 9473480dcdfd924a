package plan

import (
	"math"

	"github.com/pynomaly/pynomaly-runtime/backends/onnx/graph"
	"github.com/pynomaly/pynomaly-runtime/backends/onnx/neighbours"
)

// scan is a value that has a number for each row and each training row, up to the
// nearest of them, and what is looked up for these.
type scan struct {
	stage    stage
	elem     graph.ElemType // of the rows, and of what is computed of them
	cells    []cell         // of the row
	train    []float64
	features int
	metric   neighbours.Metric
	order    float64 // of Minkowski
	search   *search
	table    *value // of stageLooked
	column   int    // of the table; -1: all
}

type stage uint8

const (
	stageTurned  stage = iota // [training rows, rows]: sums of what coordinates contribute
	stageSums                 // [rows, training rows]
	stageRooted               // [rows, training rows]: distances
	stageNearest              // [rows, k]: the numbers of the nearest
	stageLooked               // [rows, k, columns]: rows of a table, looked up by number
)

// scanned evaluates an operator of which an input is a scan.
func (r *recogniser) scanned(s graph.Step, in []*value) ([]*value, error) {
	switch s.Operator() {
	case "Identity":
		return in[:1], nil
	case "Transpose":
		return turn(s, in)
	case "Sqrt", "Pow":
		return root(s, in)
	case "TopK":
		return r.nearest(s, in)
	case "Gather":
		return r.lookUp(s, in)
	case "Squeeze":
		return r.looked(s, in)
	}
	return nil, unknown("it is not one of the known operators on training rows")
}

// scanRows is a Scan over training rows that computes distances.
func scanRows(_ *recogniser, s graph.Step, in []*value) ([]*value, error) {
	body, ok := s.Graph("body")
	if !ok || len(in) != 2 || in[0] == nil || in[1] == nil || s.Int("num_scan_inputs", 0) != 1 || !scansForward(s) {
		return nil, unknown("it does not scan training rows")
	}
	rows, err := columnsOf(in)
	if err != nil {
		return nil, err
	}
	numbers, ok := in[1].numbers()
	if !ok || !isFloat(rows.elem) || in[1].elem != rows.elem || len(in[1].dims) != 2 || in[1].dims[1] != int64(len(rows.cells)) {
		return nil, unknown("its training rows are not constants of its rows' type that have the columns of its rows")
	}
	out := &scan{stage: stageTurned, elem: rows.elem, cells: rows.cells, features: len(rows.cells), train: numbers}
	if out.metric, out.order, ok = metricOf(body); !ok {
		return nil, unknown("what it computes for a training row is no known distance")
	}
	return []*value{rows, {elem: rows.elem, rows: true, scan: out}}, nil
}

// cosine leaves products of rows to ONNX Runtime. A cosine distance is 1 less a number
// near 1, which keeps few digits of small distances. The order in which ONNX Runtime adds
// depends on the processor, so another order finds other neighbours.
func cosine(*recogniser, graph.Step, []*value) ([]*value, error) {
	return nil, unknown("it multiplies rows, as cosine distances do: ONNX Runtime rounds such sums as the processor's instructions do, and small distances are made of these roundings")
}

// scansForward reports whether a Scan takes the training rows in their order.
func scansForward(s graph.Step) bool {
	for _, name := range []string{"scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions"} {
		for _, v := range s.Ints(name) {
			if v != 0 {
				return false
			}
		}
	}
	return true
}

// part is what a value of a scan's body is.
type part struct {
	what   string // one of the names below; empty: not known
	metric neighbours.Metric
	order  float64 // of Minkowski
}

const (
	scannedRows = "rows"
	trainingRow = "training row"
	difference  = "difference"
	absolute    = "absolute"
	raised      = "power"
	squares     = "squares"
	sumOfParts  = "sum"
)

// metricOf recognises the body of a scan: it passes the rows on, and computes of the
// differences to a training row a sum over the columns.
func metricOf(body graph.Body) (m neighbours.Metric, order float64, ok bool) {
	ins, outs := body.Inputs(), body.Outputs()
	if len(ins) != 2 || len(outs) != 2 {
		return 0, 0, false
	}
	is := map[string]part{ins[0]: {what: scannedRows}, ins[1]: {what: trainingRow}}
	constants := body.Constants()
	for _, s := range body.Steps() {
		p := partOf(s, is, constants)
		if len(s.Outputs()) != 1 || p.what == "" {
			return 0, 0, false
		}
		is[s.Outputs()[0]] = p
	}
	sum := is[outs[1]]
	return sum.metric, sum.order, is[outs[0]].what == scannedRows && sum.what == sumOfParts
}

// partOf returns what an operator of a scan's body computes.
func partOf(s graph.Step, is map[string]part, constants map[string]graph.Constant) part {
	in := append(append([]string{}, s.Inputs()...), "", "")
	a, b := is[in[0]], is[in[1]]
	switch s.Operator() {
	case "Identity":
		return a
	case "Sub":
		if (a.what == scannedRows && b.what == trainingRow) || (a.what == trainingRow && b.what == scannedRows) {
			return part{what: difference}
		}
	case "Abs":
		if a.what == difference {
			return part{what: absolute}
		}
	case "Mul":
		if a.what == difference && in[0] == in[1] {
			return part{what: squares}
		}
	case "Pow":
		if v, ok := numberOf(in[1], constants); ok && a.what == absolute && v >= 1 {
			return part{what: raised, order: v}
		}
	case "ReduceSumSquare", "ReduceSum":
		if !sumsColumns(s, constants) {
			return part{}
		}
		switch {
		case s.Operator() == "ReduceSumSquare" && a.what == difference, s.Operator() == "ReduceSum" && a.what == squares:
			return part{what: sumOfParts, metric: neighbours.Euclidean}
		case s.Operator() == "ReduceSum" && a.what == absolute:
			return part{what: sumOfParts, metric: neighbours.Manhattan}
		case s.Operator() == "ReduceSum" && a.what == raised:
			return part{what: sumOfParts, metric: neighbours.Minkowski, order: a.order}
		}
	}
	return part{}
}

// numberOf returns a constant of one number that adds no dimension to a matrix.
func numberOf(name string, constants map[string]graph.Constant) (float64, bool) {
	c, known := constants[name]
	if !known || len(c.Dims) > 2 {
		return 0, false
	}
	v, read := c.Numbers()
	return append(v, 0)[0], read && len(v) == 1
}

// sumsColumns reports whether an operator makes one number of the columns.
func sumsColumns(s graph.Step, constants map[string]graph.Constant) bool {
	axes := s.Ints("axes")
	if in := s.Inputs(); len(in) > 1 {
		c, ok := constants[in[1]]
		v, read := []float64(nil), false
		if ok {
			v, read = c.Numbers()
		}
		if !read || len(v) != 1 {
			return false
		}
		axes = []int64{int64(v[0])}
	}
	return len(axes) == 1 && lastAxis(axes[0]) && s.Int("keepdims", 1) == 0
}

// next returns a scan at another stage.
func (c *scan) next(to stage) []*value {
	out := *c
	out.stage = to
	return []*value{{elem: c.elem, rows: true, scan: &out}}
}

func turn(s graph.Step, in []*value) ([]*value, error) {
	perm := s.Ints("perm")
	if in[0].scan == nil || in[0].scan.stage != stageTurned || (len(perm) > 0 && (len(perm) != 2 || perm[0] != 1)) {
		return nil, unknown("it does not turn training rows to columns")
	}
	return in[0].scan.next(stageSums), nil
}

// root makes distances of sums.
func root(s graph.Step, in []*value) ([]*value, error) {
	c := in[0].scan
	if c == nil || c.stage != stageSums {
		return nil, unknown("it does not make distances of sums")
	}
	switch {
	case s.Operator() == "Sqrt" && c.metric == neighbours.Euclidean:
		return c.next(stageRooted), nil
	case s.Operator() == "Pow" && c.metric == neighbours.Minkowski && len(in) == 2 && in[1] != nil:
		if v, ok := in[1].numbers(); ok && len(v) == 1 && len(in[1].dims) <= 2 && math.Abs(v[0]*c.order-1) < 1e-6 {
			return c.next(stageRooted), nil
		}
	}
	return nil, unknown("it is not the root that belongs to the sums")
}

// nearest is a TopK over the distances.
func (r *recogniser) nearest(s graph.Step, in []*value) ([]*value, error) {
	c := in[0].scan
	rooted := c != nil && (c.stage == stageRooted || (c.stage == stageSums && c.metric == neighbours.Manhattan))
	if !rooted || len(in) != 2 || !lastAxis(s.Int("axis", -1)) || s.Int("largest", 1) != 0 || s.Int("sorted", 1) != 1 {
		return nil, unknown("it does not find the nearest training rows")
	}
	k, ok := in[1].ints()
	if !ok || len(k) != 1 {
		return nil, unknown("how many it finds is not known")
	}
	f, err := newSearch(c, int(min(max(k[0], 0), neighbours.MaxNeighbours+1)))
	if err != nil {
		return nil, unknown("%w", err)
	}
	if f.direct = r.areFeatures(c); !f.direct {
		for _, cell := range c.cells {
			at, err := r.column(cell, c.elem)
			if err != nil {
				return nil, err
			}
			f.columns = append(f.columns, at)
		}
	}
	r.trial.rows(f, c.train)
	r.searches = append(r.searches, f)
	first, err := r.push(step{op: opNearest, at: len(r.searches) - 1})
	if err != nil {
		return nil, err
	}
	// The step has more than one result.
	r.registers += 2*f.index.K() - 1
	dist := &value{elem: c.elem, rows: true, rank: 2}
	for i := range f.index.K() {
		f.dist, f.rows = append(f.dist, first.at+i), append(f.rows, first.at+f.index.K()+i)
		dist.cells = append(dist.cells, cell{kind: isRegister, at: f.dist[i]})
	}
	out := *c
	out.stage, out.search = stageNearest, f
	return []*value{dist, {elem: graph.Int64, rows: true, scan: &out}}, nil
}

// areFeatures reports whether the cells of a scan are the model's features, all of its
// type.
func (r *recogniser) areFeatures(c *scan) bool {
	if len(c.cells) != len(r.in.Features) {
		return false
	}
	for j, cell := range c.cells {
		if cell.kind != isFeature || cell.at != j || elems[r.in.Features[j].DType] != c.elem {
			return false
		}
	}
	return true
}

// lookUp is a Gather: of a table by the numbers of the nearest, or of a column of what
// was looked up.
func (r *recogniser) lookUp(s graph.Step, in []*value) ([]*value, error) {
	if len(in) != 2 || in[0] == nil || in[1] == nil {
		return nil, unknown("it looks nothing up")
	}
	if c := in[1].scan; c != nil {
		t := in[0]
		_, numbers := t.numbers()
		if c.stage != stageNearest || !numbers || !isFloat(t.elem) || len(t.dims) < 1 || len(t.dims) > 2 || t.dims[0] != int64(c.search.index.Rows()) || s.Int("axis", 0) != 0 {
			return nil, unknown("it does not look up a row of a table")
		}
		out := *c
		out.stage, out.table, out.column = stageLooked, t, -1
		v := &value{elem: t.elem, rows: true, scan: &out}
		if len(t.dims) == 1 {
			out.column = 0
			return one(r.columnOf(v))
		}
		return []*value{v}, nil
	}
	c := in[0].scan
	at, ok := in[1].ints()
	if c.stage != stageLooked || c.column >= 0 || !ok || len(at) != 1 || len(in[1].dims) > 1 || (s.Int("axis", 0) != 2 && s.Int("axis", 0) != -1) {
		return nil, unknown("it does not take one column of a table")
	}
	if at[0] < 0 {
		at[0] += c.table.dims[1]
	}
	if at[0] < 0 || at[0] >= c.table.dims[1] {
		return nil, unknown("it takes column %d of %d", at[0], c.table.dims[1])
	}
	v := &value{elem: in[0].elem, rows: true, scan: &scan{}}
	*v.scan = *c
	v.scan.column = int(at[0])
	if len(in[1].dims) == 0 {
		return one(r.columnOf(v))
	}
	return []*value{v}, nil
}

// looked is a Squeeze of one column of what was looked up.
func (r *recogniser) looked(s graph.Step, in []*value) ([]*value, error) {
	axes := axesOf(s, in)
	if c := in[0].scan; c == nil || c.stage != stageLooked || c.column < 0 || len(axes) != 1 || (axes[0] != 2 && axes[0] != -1) {
		return nil, unknown("it does not remove the axis of a table's columns")
	}
	return one(r.columnOf(in[0]))
}

// columnOf adds the steps that look up a table's column for each of the nearest.
func (r *recogniser) columnOf(v *value) (*value, error) {
	c := v.scan
	columns := 1
	if len(c.table.dims) == 2 {
		columns = int(c.table.dims[1])
	}
	table := make([]float64, c.search.index.Rows())
	for i := range table {
		table[i] = c.table.cells[i*columns+c.column].num
	}
	r.tables = append(r.tables, table)
	out := &value{elem: v.elem, rows: true, rank: 2}
	for _, at := range c.search.rows {
		next, err := r.push(step{op: opLookUp, at: len(r.tables) - 1, a: at})
		if err != nil {
			return nil, err
		}
		out.cells = append(out.cells, next)
	}
	return out, nil
}
