package graph

import (
	"fmt"
	"sort"
	"strings"
)

// Limits bound what a graph may use.
type Limits struct {
	// Trusted allows operators that ONNX Runtime adds to ONNX, and operators whose
	// outputs cannot be bounded.
	Trusted bool
	Rows    int   // in a call; 0: DefaultRows
	Columns int   // of an input that does not declare them; 0: DefaultColumns
	Memory  int64 // bytes for what a proof does not measure; 0: DefaultMemory
}

// The defaults of Limits.
const (
	DefaultRows    = 10_000
	DefaultColumns = 1024
	DefaultMemory  = 256 << 20
)

// Check reads a model and decides whether ONNX Runtime may load it. The error is a
// *Problem.
func Check(data []byte, limits Limits) (*Model, error) {
	switch {
	case len(data) == 0:
		return nil, problem(Malformed, "the file is empty")
	case len(data) > MaxFileBytes:
		return nil, problem(TooLarge, "the file has %d bytes; at most %d are read", len(data), MaxFileBytes)
	case len(data) > 8 && string(data[4:8]) == "ORTM":
		return nil, problem(Malformed, "the file is in ORT format: export it as .onnx")
	}
	limits = limits.defaults()
	p := &parser{most: limits.Memory}
	if limits.Trusted {
		p.most = MaxTensorBytes
	}
	m, err := p.model(data)
	if err != nil {
		return nil, err
	}
	if err := inline(m, p.most); err != nil {
		return nil, err
	}
	c := &checker{limits: limits, longest: float64(p.longest), operators: map[string]int{}}
	if err := c.model(m); err != nil {
		return nil, err
	}
	out := describe(m, c.operators)
	out.Packet, out.Apart = c.packets.rows(out.Inputs)
	return out, nil
}

func (l Limits) defaults() Limits {
	if l.Rows <= 0 {
		l.Rows = DefaultRows
	}
	if l.Memory <= 0 {
		l.Memory = DefaultMemory
	}
	return l
}

func describe(m *model, operators map[string]int) *Model {
	out := &Model{IRVersion: m.irVersion, Producer: m.producer, Opsets: map[string]int64{}, Operators: operators, Classes: labels(m.graph), checked: m}
	for _, o := range m.opsets {
		out.Opsets[o.domain] = o.version
	}
	for _, n := range operators {
		out.Nodes += n
	}
	initialised := map[string]bool{}
	for _, t := range m.graph.initializers {
		initialised[t.name] = true
	}
	for _, v := range m.graph.inputs {
		if !initialised[v.name] {
			out.Inputs = append(out.Inputs, v.public())
		}
	}
	for _, v := range m.graph.outputs {
		out.Outputs = append(out.Outputs, v.public())
	}
	return out
}

// standardDomain reports whether ONNX defines the domain and ONNX Runtime serves it.
func standardDomain(d string) bool { return d == "" || d == "ai.onnx.ml" }

// runtimeDomain reports whether ONNX Runtime adds the domain or ONNX reserves it.
func runtimeDomain(d string) bool {
	return strings.HasPrefix(d, "com.microsoft") || strings.HasPrefix(d, "com.ms.") || strings.HasPrefix(d, "ai.onnx.")
}

// servedDomain reports whether a trusted model may use the domain, which ONNX
// Runtime adds.
func servedDomain(d string) bool {
	return d == "com.microsoft" || d == "com.microsoft.nchwc" || d == "ai.onnx.preview.training" || d == "com.ms.internal.nhwc"
}

const trustHint = "list the model in backends.onnx.trusted if you trust it"

// checker visits a model's graphs in the order of their nodes. It derives a fact for
// each value, and adds up the memory that a proof does not measure.
type checker struct {
	limits    Limits
	longest   float64 // string among the constants
	operators map[string]int
	uncertain float64 // bytes
	known     int64   // bytes used by facts
	top       *scope  // of the model's main graph
	packets   packets
}

// scope maps the values that a graph can see to their facts.
type scope struct {
	outer  *scope
	values map[string]*fact
	own    map[string]bool // names that this graph computes somewhere
}

// get returns the fact of a value. It refuses a name that the same graph computes
// later: ONNX Runtime sorts nodes and would use that value instead of an outer one.
func (s *scope) get(name string) (*fact, error) {
	for at := s; at != nil; at = at.outer {
		if f := at.values[name]; f != nil {
			return f, nil
		}
		if at.own[name] {
			return nil, problem(Malformed, "value %.80q is used before it is computed: sort the nodes", name)
		}
	}
	return nil, problem(Malformed, "value %.80q is used but never computed", name)
}

func (s *scope) set(name string, f *fact) error {
	if s.values[name] != nil {
		return problem(Duplicate, "value %.80q is computed or given twice", name)
	}
	s.values[name] = f
	return nil
}

func (c *checker) model(m *model) error {
	s := newScope(m.graph, nil)
	c.top = s
	for _, v := range m.graph.inputs {
		if err := s.set(v.name, c.input(v)); err != nil {
			return err
		}
	}
	return c.graph(m.graph, s)
}

func newScope(g *graph, outer *scope) *scope {
	s := &scope{outer: outer, values: map[string]*fact{}, own: map[string]bool{}}
	for _, n := range g.nodes {
		for _, name := range n.outputs {
			s.own[name] = true
		}
	}
	return s
}

// graph checks a graph whose inputs s already holds.
func (c *checker) graph(g *graph, s *scope) error {
	initialised := map[string]bool{}
	for _, t := range g.initializers {
		if initialised[t.name] {
			return problem(Duplicate, "%s is given twice", t.describe())
		}
		initialised[t.name] = true
		// An initializer that is also an input is its default; the host gives no
		// other value.
		s.values[t.name] = constant(t)
	}
	for _, n := range g.nodes {
		if err := c.node(n, s); err != nil {
			return err
		}
	}
	for _, v := range g.outputs {
		if _, err := s.get(v.name); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) node(n *node, s *scope) error {
	c.operators[strings.TrimPrefix(n.domain+".", "ai.onnx.")+n.op]++
	if !standardDomain(n.domain) {
		if !servedDomain(n.domain) {
			return problem(Domain, "%s is of domain %.80q, which this host does not support: use operators of ai.onnx and ai.onnx.ml", n.describe(), n.domain)
		}
		if !c.limits.Trusted {
			return problem(Domain, "%s is of domain %s: %s", n.describe(), n.domain, trustHint)
		}
	}
	inputs := make([]*fact, len(n.inputs))
	for i, name := range n.inputs {
		if name == "" {
			continue
		}
		f, err := s.get(name)
		if err != nil {
			return err
		}
		inputs[i] = f
	}
	c.packets.note(n, inputs)
	outputs, err := c.outcome(&call{node: n, in: inputs, scope: s, checker: c})
	if err != nil {
		return err
	}
	for i, name := range n.outputs {
		if name == "" {
			continue
		}
		f := unknown()
		if i < len(outputs) {
			f = outputs[i]
		}
		if err := c.keep(n, f); err != nil {
			return err
		}
		if err := s.set(name, f); err != nil {
			return err
		}
	}
	return nil
}

// keep counts the memory of an output's fact.
func (c *checker) keep(n *node, f *fact) error {
	const bytesOfFact, bytesOfSpan = 192, 24
	if len(f.dims) > MaxRank {
		return problem(TooLarge, "%s makes a value of more than %d dimensions", n.describe(), MaxRank)
	}
	if c.known += bytesOfFact + bytesOfSpan*int64(len(f.dims)+len(f.spans)); c.known > c.limits.Memory {
		return problem(TooLarge, "tracking the sizes of the model's values takes more than %d MiB (limits.memory)", c.limits.Memory>>20)
	}
	return nil
}

// Summary lists the operators for people: "TreeEnsembleRegressor x1, Neg x1".
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
