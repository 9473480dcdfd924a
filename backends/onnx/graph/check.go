package graph

import (
	"fmt"
	"sort"
	"strings"
)

// Check reads a model and decides whether ONNX Runtime may be given it. With
// trusted, operators whose output size depends on data, endless loops and the
// domains that ONNX Runtime adds are allowed. The error is a *Problem.
func Check(data []byte, trusted bool) (*Model, error) {
	switch {
	case len(data) == 0:
		return nil, problem(Malformed, "the file is empty")
	case len(data) > MaxFileBytes:
		return nil, problem(TooLarge, "the file has %d bytes; at most %d are read", len(data), MaxFileBytes)
	case len(data) > 8 && string(data[4:8]) == "ORTM":
		return nil, problem(Malformed, "the file is in ORT format: export it as .onnx")
	}
	p := &parser{}
	m, err := p.model(data)
	if err != nil {
		return nil, err
	}
	c := &checker{model: m, trusted: trusted, operators: map[string]int{}, functions: map[string]bool{}}
	if err := c.run(); err != nil {
		return nil, err
	}
	out := &Model{
		IRVersion: m.irVersion, Producer: m.producer, Opsets: m.opsets,
		Outputs: m.graph.outputs, Nodes: p.nodes, Operators: c.operators,
	}
	initialised := map[string]bool{}
	for _, t := range m.graph.initializers {
		initialised[t.name] = true
	}
	for _, v := range m.graph.inputs {
		if !initialised[v.Name] {
			out.Inputs = append(out.Inputs, v)
		}
	}
	return out, nil
}

type checker struct {
	model     *model
	trusted   bool
	operators map[string]int
	functions map[string]bool // domain::name
}

// fact is what is known of a value before the model runs.
type fact struct {
	data  bool    // depends on the values of the rows, not only on how many there are
	known bool    // ints is its whole content
	ints  []int64 // of a small integer constant
}

// scope maps the values that a graph can see to what is known of them.
type scope struct {
	outer  *scope
	values map[string]fact
}

func (s *scope) get(name string) fact {
	for at := s; at != nil; at = at.outer {
		if f, ok := at.values[name]; ok {
			return f
		}
	}
	return fact{data: true}
}

// The domains that ONNX defines and ONNX Runtime serves as such.
func standardDomain(d string) bool { return d == "" || d == "ai.onnx" || d == "ai.onnx.ml" }

// The domains that ONNX Runtime adds of its own.
func runtimeDomain(d string) bool {
	return d == "com.microsoft" || d == "com.microsoft.nchwc" || d == "ai.onnx.preview.training" || d == "com.ms.internal.nhwc"
}

func (c *checker) run() error {
	for _, f := range c.model.functions {
		if standardDomain(f.domain) {
			return problem(Domain, "function %.80q is defined in ONNX's own domain", f.name)
		}
		c.functions[f.domain+"::"+f.name] = true
	}
	for _, f := range c.model.functions {
		s := &scope{values: map[string]fact{}}
		for _, in := range f.inputs {
			s.values[in] = fact{data: true}
		}
		if err := c.nodes(f.nodes, s); err != nil {
			return err
		}
	}
	return c.graph(c.model.graph, nil)
}

// graph checks a graph; all its inputs are taken to depend on the data.
func (c *checker) graph(g *graph, outer *scope) error {
	s := &scope{outer: outer, values: map[string]fact{}}
	for _, in := range g.inputs {
		s.values[in.Name] = fact{data: true}
	}
	seen := map[string]bool{}
	for _, t := range g.initializers {
		if seen[t.name] {
			return problem(Duplicate, "%s is given twice", t.describe())
		}
		seen[t.name] = true
		s.values[t.name] = constant(t)
	}
	return c.nodes(g.nodes, s)
}

func constant(t *tensor) fact {
	return fact{known: int64(len(t.ints)) == t.count, ints: t.ints}
}

func (c *checker) nodes(nodes []*node, s *scope) error {
	for _, n := range nodes {
		if err := c.node(n, s); err != nil {
			return err
		}
		out := c.outcome(n, s)
		for _, name := range n.outputs {
			if name == "" {
				continue
			}
			if _, twice := s.values[name]; twice {
				return problem(Duplicate, "value %.80q is computed twice", name)
			}
			s.values[name] = out
		}
	}
	return nil
}

func (c *checker) node(n *node, s *scope) error {
	c.operators[strings.TrimPrefix(n.domain+".", "ai.onnx.")+n.op]++
	if !standardDomain(n.domain) && !c.functions[n.domain+"::"+n.op] {
		if !runtimeDomain(n.domain) {
			return problem(Domain, "%s is of domain %.80q, which this host does not know: use operators of ai.onnx and ai.onnx.ml", n.describe(), n.domain)
		}
		if !c.trusted {
			return problem(Domain, "%s is of domain %s: list the model in backends.onnx.trusted if you trust it", n.describe(), n.domain)
		}
	}
	if !c.trusted && standardDomain(n.domain) {
		if err := sized(n, s); err != nil {
			return err
		}
	}
	for _, g := range n.graphs {
		if err := c.graph(g, s); err != nil {
			return err
		}
	}
	return nil
}

// outcome is what is known of a node's outputs.
func (c *checker) outcome(n *node, s *scope) fact {
	switch {
	case n.op == "Constant" && standardDomain(n.domain):
		if t := n.tensors["value"]; t != nil {
			return constant(t)
		}
		for _, name := range []string{"value_int", "value_ints"} {
			if v, ok := n.ints[name]; ok {
				return fact{known: true, ints: v}
			}
		}
		return fact{}
	case (n.op == "Shape" || n.op == "Size") && standardDomain(n.domain):
		// No operator that passed makes shapes of data.
		return fact{}
	case (n.op == "Identity" || n.op == "Cast") && standardDomain(n.domain):
		return s.get(n.input(0))
	}
	if strings.HasPrefix(n.op, "Random") {
		return fact{data: true}
	}
	var out fact
	for _, in := range n.inputs {
		out.data = out.data || (in != "" && s.get(in).data)
	}
	// A graph inside sees everything outside.
	out.data = out.data || len(n.graphs) > 0
	return out
}

// dataSized lists the operators with inputs that say how large an output is.
var dataSized = map[string]struct {
	inputs []int                              // which of them; nil: every one
	count  func(ints map[int][]int64) []int64 // known sizes to dimensions; nil: not computed
}{
	"ConstantOfShape": {[]int{0}, func(v map[int][]int64) []int64 { return v[0] }},
	"Expand":          {[]int{1}, func(v map[int][]int64) []int64 { return v[1] }},
	"Tile":            {[]int{1, 2}, func(v map[int][]int64) []int64 { return v[1] }},
	"Range":           {[]int{0, 1, 2}, rangeSize},
	"OneHot":          {[]int{1}, func(v map[int][]int64) []int64 { return v[1] }},
	"Pad":             {[]int{1}, func(v map[int][]int64) []int64 { return v[1] }},
	"Resize":          {[]int{1, 2, 3}, func(v map[int][]int64) []int64 { return v[3] }},
	"Upsample":        {[]int{1}, nil},
	"MaxUnpool":       {[]int{2}, func(v map[int][]int64) []int64 { return v[2] }},
	"CenterCropPad":   {[]int{1}, func(v map[int][]int64) []int64 { return v[1] }},
	"Col2Im":          {[]int{1, 2}, func(v map[int][]int64) []int64 { return v[1] }},
	"AffineGrid":      {[]int{1}, func(v map[int][]int64) []int64 { return v[1] }},
	"BlackmanWindow":  {[]int{0}, func(v map[int][]int64) []int64 { return v[0] }},
	"HannWindow":      {[]int{0}, func(v map[int][]int64) []int64 { return v[0] }},
	"HammingWindow":   {[]int{0}, func(v map[int][]int64) []int64 { return v[0] }},
	"MelWeightMatrix": {[]int{0, 1}, nil},
	"DFT":             {[]int{1}, func(v map[int][]int64) []int64 { return v[1] }},
	"STFT":            {[]int{1, 3}, nil},
	"Compress":        {[]int{1}, nil},
	"NonZero":         {nil, nil}, "Unique": {nil, nil}, "NonMaxSuppression": {nil, nil}, "StringSplit": {nil, nil},
	"ImageDecoder": {nil, nil}, "SplitToSequence": {[]int{1}, nil},
}

func rangeSize(v map[int][]int64) []int64 {
	for i := range 3 {
		if len(v[i]) != 1 {
			return nil
		}
	}
	start, limit, delta := v[0][0], v[1][0], v[2][0]
	if delta == 0 || (limit-start)/delta < 0 {
		return nil
	}
	return []int64{(limit - start) / delta}
}

// sized refuses an operator whose output may be of any size.
func sized(n *node, s *scope) error {
	switch n.op {
	case "Loop":
		return boundedLoop(n, s)
	case "RandomNormal", "RandomUniform":
		return within(n, n.ints["shape"])
	case "Multinomial":
		return within(n, n.ints["sample_size"])
	}
	rule, ok := dataSized[n.op]
	if !ok {
		return nil
	}
	which := rule.inputs
	if which == nil {
		for i := range n.inputs {
			which = append(which, i)
		}
	}
	known := map[int][]int64{}
	for _, i := range which {
		name := n.input(i)
		if name == "" {
			continue
		}
		f := s.get(name)
		if f.data {
			return problem(DataSized, "%s makes an output whose size depends on the data (input %.80q): list the model in backends.onnx.trusted if you trust it", n.describe(), name)
		}
		if f.known {
			known[i] = f.ints
		}
	}
	if rule.count == nil {
		return nil
	}
	return within(n, rule.count(known))
}

func boundedLoop(n *node, s *scope) error {
	trips := s.get(n.input(0))
	const hint = "list the model in backends.onnx.trusted if you trust it"
	switch {
	case n.input(0) == "":
		return problem(Unbounded, "%s has no bound on its turns: %s", n.describe(), hint)
	case trips.data:
		return problem(Unbounded, "%s takes its number of turns from the data: %s", n.describe(), hint)
	case trips.known && len(trips.ints) == 1 && trips.ints[0] > MaxLoopTrips:
		return problem(Unbounded, "%s may take %d turns; at most %d are allowed: %s", n.describe(), trips.ints[0], MaxLoopTrips, hint)
	}
	return nil
}

func within(n *node, size []int64) error {
	if count, over := product(absolute(size)); over || count > MaxElements {
		return problem(TooLarge, "%s makes a tensor of %s values: larger than any model that is served", n.describe(), dims(size))
	}
	return nil
}

func absolute(size []int64) []int64 {
	out := make([]int64, len(size))
	for i, d := range size {
		out[i] = max(d, -d, 1)
	}
	return out
}

// Summary describes the operators for people: "TreeEnsembleRegressor x1, Neg x1".
func (m *Model) Summary() string {
	names := make([]string, 0, len(m.Operators))
	for op := range m.Operators {
		names = append(names, op)
	}
	sort.Slice(names, func(i, j int) bool {
		if m.Operators[names[i]] != m.Operators[names[j]] {
			return m.Operators[names[i]] > m.Operators[names[j]]
		}
		return names[i] < names[j]
	})
	for i, op := range names {
		names[i] = fmt.Sprintf("%s x%d", op, m.Operators[op])
	}
	return strings.Join(names, ", ")
}
