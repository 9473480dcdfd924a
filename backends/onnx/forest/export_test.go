package forest

// Plain compiles an ensemble as for a processor without vectors.
func Plain(e Ensemble) (*Forest, error) { return compile(e, false) }

// ByBits reports whether blocks of many rows are evaluated by the bits of their trees.
func (f *Forest) ByBits() bool { return f.bits != nil }

// HasBits reports whether the processor evaluates trees by their bits.
var HasBits = hasBits
