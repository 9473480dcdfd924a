package graph

// mlRules holds the rules of the operators of ai.onnx.ml.
var mlRules = map[string]rule{
	"ArrayFeatureExtractor": arrayFeatureRule, "Binarizer": sizeOf(0), "CategoryMapper": sizeOf(0), "FeatureVectorizer": featureVectorRule,
	"Imputer": sizeOf(0), "LabelEncoder": sizeOf(0), "LinearClassifier": classifierRule, "LinearRegressor": targets("targets"),
	"Normalizer": sizeOf(0), "OneHotEncoder": oneHotEncoderRule, "SVMClassifier": classifierRule, "SVMRegressor": targets(""),
	"Scaler": sizeOf(0), "TreeEnsemble": ending(targets("n_targets")), "TreeEnsembleClassifier": ending(classifierRule),
	"TreeEnsembleRegressor": ending(targets("n_targets")), "ZipMap": sizeOf(0),
}

// rowsOf returns the number of rows of a matrix; a vector is one row.
func rowsOf(f *fact) span {
	switch {
	case !f.ranked:
		return span{lo: 0, hi: f.count}
	case len(f.dims) < 2:
		return span{lo: 1, hi: max(1, f.count)}
	}
	return f.dims[0]
}

// targets returns the rule of models whose attribute is the number of outputs per
// row.
func targets(attribute string) rule {
	return func(c *call) ([]*fact, error) {
		f, err := c.need(0)
		if err != nil {
			return nil, err
		}
		n := int64(1)
		if attribute != "" {
			n = max(c.int(attribute, 1), 1)
		}
		return c.same(shaped(rowsOf(f), exactly(float64(n)))), nil
	}
}

func classifierRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	n := 2.0
	for _, name := range []string{"classlabels_ints", "classlabels_int64s", "classlabels_strings", "vectors_per_class", "intercepts"} {
		if a := c.attribute(name); a != nil {
			n = max(n, float64(max(len(a.ints), len(a.strings), len(a.floats)/4)))
		}
	}
	if c.op == "SVMClassifier" {
		n = max(n, n*(n-1)/2) // one vote per pair
	}
	label := shaped(rowsOf(f))
	label.text = c.attribute("classlabels_strings") != nil
	scores := shaped(rowsOf(f), span{lo: 1, hi: n})
	return []*fact{label, scores}[:max(1, min(2, len(c.outputs)))], nil
}

func oneHotEncoderRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, name := range []string{"cats_int64s", "cats_strings"} {
		if a := c.attribute(name); a != nil {
			n = max(n, len(a.ints), len(a.strings))
		}
	}
	if !f.ranked {
		return c.same(counted(f.count * float64(max(n, 1)))), nil
	}
	return c.same(shaped(append(append([]span{}, f.dims...), exactly(float64(n)))...)), nil
}

func arrayFeatureRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	at, err := c.need(1)
	if err != nil {
		return nil, err
	}
	n := span{lo: 0, hi: at.count}
	if d, ok := at.dim(-1); ok && (len(at.dims) == 1 || d.hi == at.count) {
		n = d
	}
	switch {
	case !f.ranked || len(f.dims) == 0:
		return c.same(counted(f.count * at.count)), nil
	case len(f.dims) == 1:
		return c.same(shaped(exactly(1), n)), nil
	}
	dims := append([]span{}, f.dims[:len(f.dims)-1]...)
	return c.same(shaped(append(dims, n)...)), nil
}

func featureVectorRule(c *call) ([]*fact, error) {
	n, rows := sum(c.ints("inputdimensions")), span{}
	last := 0.0
	for i, f := range c.in {
		if f == nil || !f.ranked {
			return nil, c.errUnknown()
		}
		if d := rowsOf(f); i == 0 || d.hi > rows.hi {
			rows = d
		}
		if d, ok := f.dim(-1); ok {
			last += d.hi
		}
	}
	return c.same(shaped(rows, exactly(max(n, last)))), nil
}

func tfIdfRule(c *call) ([]*fact, error) {
	f, err := c.need(0)
	if err != nil {
		return nil, err
	}
	n := int64(0)
	for _, i := range c.ints("ngram_indexes") {
		n = max(n, i+1)
	}
	if n < 0 || n > MaxElements {
		return nil, problem(TooLarge, "%s computes %d values per row: more than any model that is supported", c.describe(), n)
	}
	if !f.ranked {
		return c.same(counted(f.count * float64(max(n, 1)))), nil
	}
	dims := append([]span{}, f.dims[:max(len(f.dims), 1)-1]...)
	return c.same(shaped(append(dims, exactly(float64(n)))...)), nil
}
