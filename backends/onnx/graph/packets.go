package graph

// packets finds out in what numbers and places of rows ONNX Runtime computes each row the
// same. It computes some functions in packets of numbers, as many as fit the processor's
// registers, and what is left over one by one and a last bit otherwise. It adds the columns
// of a row in an order that depends on where in memory the row begins. And it has a way of
// its own for a single row of linear models and support vector machines. What differs so
// may differ in few rows: it is told from the graph and not from rows.
type packets struct {
	all     bool // there is a function that takes whole packets
	doubles bool // there may be values of float64
	wide    bool // there is a function that takes whole packets of float64
	vectors bool // there is a linear model or a support vector machine
	apart   int  // how many rows begin a whole number of packets apart; 0: nothing asks
}

// packet is how many numbers make whole packets, whatever their type.
const packet = 4

// note takes in a node with what is known of its inputs.
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

// apart is how many rows of the first input begin a whole number of packets apart.
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

// rows returns the number of rows, and how many rows apart they must be; 1: any.
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
