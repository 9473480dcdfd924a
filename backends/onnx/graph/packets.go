package graph

// packets determines for which numbers and positions of rows ONNX Runtime computes
// each row the same. ONNX Runtime computes some functions in packets of numbers, as
// many as fit into the processor's registers, and the remaining numbers one by one,
// which may change the last bit. It adds the columns of a row in an order that
// depends on the memory address of the row. It computes a single row of linear
// models and support vector machines in another way. Few rows may show such a
// difference, so it is derived from the graph.
type packets struct {
	all     bool // a function computes packets
	doubles bool // there may be values of float64
	wide    bool // a function computes packets of float64
	vectors bool // there is a linear model or a support vector machine
	apart   int  // the distance of rows in whole packets; 0: no operator depends on it
}

// packet is a number of elements that is a multiple of a packet for every type.
const packet = 4

// note processes a node with the facts of its inputs.
func (p *packets) note(n *node, in []*fact) {
	switch n.op {
	case "Log", "Softplus", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Elu", "Selu", "Celu", "Mish":
		p.all = true
	case "ReduceSum", "ReduceMean":
		p.apart = max(p.apart, apart(in))
	case "Exp", "Tanh", "Sigmoid", "Softmax", "LogSoftmax", "ReduceLogSumExp", "Erf":
		p.wide = true
	case "SVMRegressor", "SVMClassifier", "LinearRegressor", "LinearClassifier":
		p.vectors = true
	case "Cast":
		p.doubles = p.doubles || n.int("to", 0) == int64(Double)
	}
}

// apart returns after how many rows of the first input a row begins at a multiple of
// a packet.
func apart(in []*fact) int {
	if len(in) == 0 || in[0] == nil {
		return packet
	}
	last, ok := in[0].dim(-1)
	switch {
	case !ok || !last.exact():
		return packet
	case int64(last.lo)%packet == 0:
		return 1
	case int64(last.lo)%2 == 0:
		return packet / 2
	}
	return packet
}

// rows returns the number of rows, and how many rows apart they must be; 1 means
// any.
func (p *packets) rows(inputs []Value) (rows, apart int) {
	for _, v := range inputs {
		p.doubles = p.doubles || v.Elem == Double
	}
	rows, apart = 1, max(1, p.apart)
	switch {
	case p.all, p.wide && p.doubles:
		rows = packet
	case p.vectors:
		rows = 2
	}
	if apart > 1 {
		apart = max(apart, rows) // so that there are whole packets, too
	}
	return rows, apart
}
