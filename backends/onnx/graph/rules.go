package graph

import "strings"

// ruleOf returns the rule of an operator, or nil if its outputs cannot be bounded.
func ruleOf(domain, op string) rule {
	if domain == "" {
		switch op {
		case "If":
			return ifRule
		case "Loop":
			return loopRule
		case "Scan":
			return scanRule
		}
		return rules[op]
	}
	if domain == "ai.onnx.ml" {
		return mlRules[op]
	}
	return nil
}

// rules holds the rules of ONNX's own operators.
var rules = func() map[string]rule {
	out := map[string]rule{
		"ArgMax": argRule, "ArgMin": argRule, "Compress": atMostRule, "Concat": concatRule, "ConcatFromSequence": sumRule,
		"Constant": constantRule, "ConstantOfShape": constantOfShapeRule, "Conv": conv(0, 1), "ConvInteger": conv(0, 1),
		"ConvTranspose": convTransposeRule, "QLinearConv": conv(0, 3), "DepthToSpace": spaceRule, "SpaceToDepth": atMostRule,
		"Det": atMostRule, "Einsum": einsumRule, "Expand": expandRule, "Flatten": flattenRule, "GRU": recurrentRule, "LSTM": recurrentRule,
		"RNN": recurrentRule, "Gather": gatherRule, "GatherElements": sizeOf(1), "GatherND": timesRule, "Gemm": gemmRule,
		"GlobalAveragePool": globalPoolRule, "GlobalMaxPool": globalPoolRule, "GlobalLpPool": globalPoolRule,
		"GridSample": timesRule, "AveragePool": poolRule, "MaxPool": poolRule, "LpPool": poolRule,
		"MatMul": matMul(0, 1), "MatMulInteger": matMul(0, 1), "QLinearMatMul": matMul(0, 3), "NonZero": nonZeroRule,
		"OneHot": oneHotRule, "Pad": padRule, "RandomNormal": shapeAttributeRule, "RandomUniform": shapeAttributeRule,
		"Multinomial": multinomialRule, "Range": rangeRule, "Reshape": reshapeRule, "Resize": resizeRule, "Upsample": resizeRule,
		"Shape": shapeRule, "Size": sizeRule, "Slice": sliceRule, "Split": splitRule, "SplitToSequence": atMostRule,
		"Squeeze": squeezeRule, "Unsqueeze": unsqueezeRule, "Tile": tileRule, "TopK": topKRule, "Transpose": transposeRule,
		"Unique": atMostRule, "SequenceConstruct": sumRule, "SequenceInsert": sumRule, "SequenceAt": atMostRule, "SequenceErase": atMostRule, "StringNormalizer": atMostRule, "TfIdfVectorizer": tfIdfRule,
		"SequenceEmpty": scalarRule, "SequenceLength": scalarRule, "OptionalHasElement": scalarRule, "Optional": sizeOf(0), "OptionalGetElement": sizeOf(0),
	}
	for op := range strings.FieldsSeq(`Abs Acos Acosh Asin Asinh Atan Atanh BatchNormalization Bernoulli BitwiseNot Cast CastLike Ceil Celu
		Clip Cos Cosh CumProd CumSum DequantizeLinear Dropout DynamicQuantizeLinear Elu Erf Exp EyeLike Floor Gelu GroupNormalization HardSigmoid HardSwish
		Hardmax Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Log LogSoftmax LpNormalization
		MeanVarianceNormalization Mish Neg Not PRelu QuantizeLinear RMSNormalization RandomNormalLike RandomUniformLike Reciprocal RegexFullMatch Relu
		ReverseSequence RotaryEmbedding Round Scatter ScatterElements ScatterND Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh
		ThresholdedRelu Trilu`) {
		out[op] = sizeOf(0)
	}
	for op := range strings.FieldsSeq(`Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max
		Mean Min Mod Mul Or Pow Sub Sum Where Xor`) {
		out[op] = elementwise
	}
	for op := range strings.FieldsSeq(`ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare`) {
		out[op] = reduceRule
	}
	return out
}()

// same returns the fact f for each output of a node.
func (c *call) same(f *fact) []*fact {
	out := make([]*fact, max(1, len(c.outputs)))
	for i := range out {
		g := *f
		out[i] = &g
	}
	return out
}

// sizeOf returns a rule for outputs that are no larger than input i.
func sizeOf(i int) rule {
	return func(c *call) ([]*fact, error) {
		f, err := c.need(i)
		if err != nil {
			return nil, err
		}
		out := f.like()
		switch do := operations[c.op]; {
		case c.op == "Identity":
			out = out.with(f.spans)
		case c.op == "Cast" && exactTypes[ElemType(c.int("to", 0))]:
			out = out.with(limit(f.spans))
		case do != nil:
			out = out.with(arithmetic(c, out, do))
		}
		outs := c.same(out)
		if c.op != "Dropout" {
			for k := 1; k < len(outs); k++ { // means and scales, in fewer dimensions
				outs[k] = counted(f.count)
				outs[k].full = f.full
			}
		}
		return outs, nil
	}
}

// exactTypes holds the types in which sizes are tracked.
var exactTypes = map[ElemType]bool{Float: true, Double: true, Int32: true, Int64: true}

// atMostRule is the rule of operators whose outputs have at most as many elements as
// the first input, in a shape that varies.
func atMostRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	out := counted(f.count)
	out.loose = c.op != "SpaceToDepth" && c.op != "Det"
	out.full = f.full && !out.loose
	return c.same(out), nil
}

func sumRule(c *call) ([]*fact, error) {
	out := counted(0)
	for _, f := range c.in {
		if f != nil {
			out.count += f.count
		}
	}
	return c.same(out), nil
}

func timesRule(c *call) ([]*fact, error) {
	return c.same(broadcastUnranked(c.in)), nil
}

func scalarRule(c *call) ([]*fact, error) { return c.same(shaped()), nil }

func elementwise(c *call) ([]*fact, error) {
	if a := c.attribute("broadcast"); a != nil { // before opset 7: broadcast to the first input
		return sizeOf(0)(c)
	}
	out := broadcast(c.in)
	if do := operations[c.op]; do != nil {
		if c.op != "Where" && c.op != "Max" && c.op != "Min" && len(c.in) < 2 {
			return c.same(out), nil
		}
		if c.op == "Where" && len(c.in) < 3 {
			return nil, c.errUnknown()
		}
		out = out.with(arithmetic(c, out, do))
	}
	return c.same(out), nil
}

func constantRule(c *call) ([]*fact, error) {
	if len(c.attributes) != 1 {
		return nil, problem(Malformed, "%s must have one attribute", c.describe())
	}
	a := c.attributes[0]
	switch a.kind {
	case attrTensor:
		return c.same(constant(a.tensors[0])), nil
	case attrInt, attrInts:
		spans := make([]span, 0, min(len(a.ints), mostSpans+1))
		for _, v := range a.ints[:min(len(a.ints), mostSpans+1)] {
			spans = append(spans, exactly(float64(v)))
		}
		f := shaped(exactly(float64(len(a.ints))))
		if a.kind == attrInt {
			f = shaped()
		}
		return c.same(f.with(spans)), nil
	case attrFloats:
		return c.same(shaped(exactly(float64(len(a.floats) / 4)))), nil
	case attrStrings:
		return c.same(shaped(exactly(float64(len(a.strings))))), nil
	}
	return c.same(shaped()), nil
}

func shapeRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	if !f.ranked {
		return c.same(shaped(span{lo: 0, hi: MaxRank * MaxRank})), nil
	}
	dims := f.dims
	from, to := c.int("start", 0), c.int("end", int64(len(dims)))
	clamp := func(v int64) int64 {
		if v < 0 {
			v += int64(len(dims))
		}
		return min(max(v, 0), int64(len(dims)))
	}
	from, to = clamp(from), clamp(to)
	dims = dims[from:max(from, to)]
	out := shaped(exactly(float64(len(dims)))).with(limit(append([]span{}, dims...)))
	out.loose = f.loose
	return c.same(out), nil
}

func sizeRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	return c.same(shaped().with(limit([]span{{lo: 0, hi: f.count}}))), nil
}

// list returns a list of axes or sizes, given by an attribute or by an input with
// known contents. given says that the node has one of them.
func (c *call) list(attribute string, input int) (spans []span, given bool) {
	if a := c.attribute(attribute); a != nil {
		for _, v := range a.ints {
			spans = append(spans, exactly(float64(v)))
		}
		return spans, true
	}
	if f := c.arg(input); f != nil {
		return f.spans, true
	}
	return nil, false
}

// axes returns the axes below rank from such a list. ok says that they are known.
func axes(spans []span, rank int) (out map[int]bool, ok bool) {
	out = map[int]bool{}
	for _, s := range spans {
		at := s.lo
		if at < 0 {
			at += float64(rank)
		}
		if !s.exact() || at < 0 || at >= float64(rank) {
			return nil, false
		}
		out[int(at)] = true
	}
	return out, spans != nil
}

func reduceRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	spans, given := c.list("axes", 1)
	keep := c.int("keepdims", 1) != 0
	return c.reduced(f, spans, given && (spans == nil || len(spans) > 0), keep)
}

func argRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	return c.reduced(f, []span{exactly(float64(c.int("axis", 0)))}, true, c.int("keepdims", 1) != 0)
}

func (c *call) reduced(f *fact, spans []span, given, keep bool) ([]*fact, error) {
	if !f.ranked {
		out := counted(f.count)
		out.full = f.full
		return c.same(out), nil
	}
	which, ok := axes(spans, len(f.dims))
	if given && !ok {
		out := counted(f.count)
		out.loose = true
		return c.same(out), nil
	}
	if !given && c.int("noop_with_empty_axes", 0) != 0 {
		return c.same(f.like()), nil
	}
	var dims []span
	for i, d := range f.dims {
		switch {
		case given && !which[i]:
			dims = append(dims, d)
		case keep:
			dims = append(dims, exactly(1))
		}
	}
	out := shaped(dims...)
	if c.op == "ReduceProd" || c.op == "ReduceMax" || c.op == "ReduceMin" {
		out = out.with(c.folded(f, out))
	}
	return c.same(out), nil
}

// folded returns the contents of a list that is reduced to one number.
func (c *call) folded(f, out *fact) []span {
	if out.count > 1 || len(f.dims) != 1 || len(f.spans) == 0 {
		return nil
	}
	do := operations[map[string]string{"ReduceProd": "Mul", "ReduceMax": "Max", "ReduceMin": "Min"}[c.op]]
	all := f.spans[0]
	for _, s := range f.spans[1:] {
		all = do([]span{all, s})
	}
	return limit([]span{all})
}
