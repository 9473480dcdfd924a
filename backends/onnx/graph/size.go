package graph

import (
	"fmt"
	"math"
)

// call is a node with the facts of its inputs.
type call struct {
	*node
	in      []*fact
	scope   *scope
	checker *checker
}

// arg returns the fact of an input, or nil if there is none.
func (c *call) arg(i int) *fact {
	if i < len(c.in) {
		return c.in[i]
	}
	return nil
}

// need returns the fact of a required input.
func (c *call) need(i int) (*fact, error) {
	if f := c.arg(i); f != nil {
		return f, nil
	}
	return nil, problem(Malformed, "%s has no input %d", c.describe(), i)
}

// rule returns the facts of a node's outputs. Further facts describe memory that the
// operator uses itself.
type rule func(c *call) ([]*fact, error)

// errUnknown says that an output cannot be bounded.
func (c *call) errUnknown() error {
	return problem(Unknown, "%s: this host cannot bound the size of its outputs: %s", c.describe(), trustHint)
}

// outcome returns the facts of a node's outputs and accounts for their memory.
func (ck *checker) outcome(c *call) ([]*fact, error) {
	if ck.limits.Trusted && c.holdsGraphs() {
		return nil, ck.walk(c)
	}
	r := ruleOf(c.domain, c.op)
	if r == nil {
		if !ck.limits.Trusted {
			return nil, ck.foreign(c)
		}
		return nil, nil
	}
	if what, ok := sizedByData[c.op]; ok && !ck.limits.Trusted {
		if err := c.independent(what); err != nil {
			return nil, err
		}
	}
	out, err := r(c)
	if err != nil {
		if !ck.limits.Trusted {
			return nil, err
		}
		return nil, nil
	}
	for _, f := range out {
		if math.IsNaN(f.count) {
			f.count = math.Inf(1) // 0 times infinity: no bound
		}
		for _, i := range c.in {
			if i == nil {
				continue
			}
			f.data = f.data || (i.data && !sizeOnly[c.op])
			f.loose = f.loose || i.loose
			f.text = f.text || (i.text && movesTexts(c))
		}
		f.data = f.data || random[c.op]
		f.text = f.text || makesTexts(c)
		if !ck.limits.Trusted {
			if err := ck.account(c, f); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// foreign returns the error for an operator without a rule.
func (ck *checker) foreign(c *call) error {
	if what, ok := sizedByData[c.op]; ok {
		if err := c.independent(what); err != nil {
			return err
		}
	}
	return c.errUnknown()
}

func (n *node) holdsGraphs() bool {
	for _, a := range n.attributes {
		if len(a.graphs) > 0 {
			return true
		}
	}
	return false
}

// walk checks the graphs in a trusted node's attributes, whose inputs are unknown.
func (ck *checker) walk(c *call) error {
	for _, a := range c.attributes {
		for _, g := range a.graphs {
			s := newScope(g, c.scope)
			for _, v := range g.inputs {
				if err := s.set(v.name, unknown()); err != nil {
					return err
				}
			}
			if err := ck.graph(g, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// The bytes of an element: of the widest number, and of a string beside its
// characters.
const (
	bytesOfNumber = 8
	bytesOfString = 40
)

// account adds an output to what a proof does not measure. That is: constants, which
// ONNX Runtime computes and keeps at load; everything in branches and bodies; sizes
// that depend on more than the number of rows; and the model's own strings, which
// the rows of a proof may not produce.
func (ck *checker) account(c *call, f *fact) error {
	bytes := f.count * bytesOfNumber
	switch {
	case math.IsInf(f.count, 1):
		return c.errUnknown()
	case f.text:
		bytes = f.count * (bytesOfString + max(ck.longest, 32))
	case f.data && !f.loose && c.scope.outer == nil:
		return nil
	}
	if ck.uncertain += bytes; ck.uncertain > float64(ck.limits.Memory) {
		return problem(TooLarge, "%s computes %s: with it, constants, branches and sizes that vary may take %s, more than the %s of limits.memory",
			c.describe(), f.describe(), amount(ck.uncertain), amount(float64(ck.limits.Memory)))
	}
	return nil
}

func (f *fact) describe() string {
	if !f.ranked {
		return fmt.Sprintf("up to %.0f values", f.count)
	}
	hi := make([]int64, len(f.dims))
	for i, d := range f.dims {
		hi[i] = int64(min(d.hi, 1<<60))
	}
	return "up to " + dims(hi) + " values"
}

func amount(bytes float64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%.0f MiB", math.Ceil(bytes/(1<<20)))
	}
	return fmt.Sprintf("%.1f GiB", bytes/(1<<30))
}

// sizedByData maps operators to the inputs that determine an output's size, which
// must not depend on the data. nil means all inputs.
var sizedByData = map[string][]int{
	"ConstantOfShape": {0}, "Expand": {1}, "Tile": {1, 2}, "Range": {0, 1, 2}, "OneHot": {1}, "Pad": {1}, "Resize": {1, 2, 3},
	"Upsample": {1}, "MaxUnpool": {2}, "CenterCropPad": {1}, "Col2Im": {1, 2}, "AffineGrid": {1}, "BlackmanWindow": {0},
	"HannWindow": {0}, "HammingWindow": {0}, "MelWeightMatrix": {0, 1}, "DFT": {1}, "STFT": {1, 3}, "Compress": {1},
	"NonZero": nil, "Unique": nil, "NonMaxSuppression": nil, "StringSplit": nil, "ImageDecoder": nil, "SplitToSequence": {1},
}

// independent refuses a node whose output size depends on the data.
func (c *call) independent(which []int) error {
	for i, f := range c.in {
		if f == nil || !f.data {
			continue
		}
		for _, w := range which {
			if w == i {
				return c.errData(i)
			}
		}
		if which == nil {
			return c.errData(i)
		}
	}
	return nil
}

func (c *call) errData(i int) error {
	return problem(DataSized, "%s computes an output whose size depends on the data (input %.80q): %s", c.describe(), c.input(i), trustHint)
}

// random holds the operators whose outputs differ from call to call.
var random = map[string]bool{
	"RandomNormal": true, "RandomUniform": true, "RandomNormalLike": true, "RandomUniformLike": true, "Multinomial": true, "Bernoulli": true,
	"If": true, "Loop": true, "Scan": true, // what their graphs do is not tracked
}

// sizeOnly holds the operators whose outputs depend only on the sizes of their
// inputs.
var sizeOnly = map[string]bool{"Shape": true, "Size": true, "ConstantOfShape": true}

// numeric holds the operators that compute numbers from strings.
var numeric = map[string]bool{
	"Shape": true, "Size": true, "Equal": true, "OneHotEncoder": true, "IsNaN": true, "NonZero": true, "SequenceLength": true,
	"TfIdfVectorizer": true, "RegexFullMatch": true, "OneHot": true, "TopK": true,
}

func movesTexts(c *call) bool {
	switch c.op {
	case "Cast":
		return c.int("to", 0) == int64(String)
	case "LabelEncoder":
		return false // makesTexts decides
	}
	return !numeric[c.op]
}

func (c *call) isText(i int) bool { f := c.arg(i); return f != nil && f.text }

// makesTexts reports whether a node's outputs may be strings that come from its
// attributes or from numbers.
func makesTexts(c *call) bool {
	given := func(name string) bool { return c.attribute(name) != nil }
	switch c.op {
	case "Cast":
		return c.int("to", 0) == int64(String)
	case "CastLike":
		return true
	case "LabelEncoder":
		a := c.attribute("values_tensor")
		return given("values_strings") || (given("classes_strings") && !c.isText(0)) || (a != nil && len(a.tensors) == 1 && a.tensors[0].elem == String)
	case "CategoryMapper":
		return !c.isText(0)
	case "Constant", "ConstantOfShape":
		for _, a := range c.attributes {
			if a.kind == attrStrings || a.kind == attrString || (len(a.tensors) == 1 && a.tensors[0].elem == String) {
				return true
			}
		}
	case "ZipMap", "StringNormalizer":
		return true
	}
	return false
}
