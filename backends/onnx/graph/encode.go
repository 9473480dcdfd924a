package graph

import "google.golang.org/protobuf/encoding/protowire"

// Encode writes the model for ONNX Runtime: what was checked and nothing else. Equal
// models give equal bytes.
func (m *Model) Encode() []byte { return m.Append(nil) }

// Append appends the output of Encode to b. It is about as long as the file was.
func (m *Model) Append(b []byte) []byte {
	w := &writer{b}
	w.model(m.checked)
	return w.b
}

func (w *writer) model(m *model) {
	w.varint(1, m.irVersion)
	if m.producer != "" {
		w.text(2, m.producer)
	}
	if m.producer2 != "" {
		w.text(3, m.producer2)
	}
	w.message(7, func() { w.graph(m.graph) })
	for _, o := range m.opsets {
		w.message(8, func() {
			w.text(1, o.domain)
			w.varint(2, o.version)
		})
	}
}

func (w *writer) graph(g *graph) {
	for _, n := range g.nodes {
		w.message(1, func() { w.node(n) })
	}
	w.text(2, g.name)
	for _, t := range g.initializers {
		w.message(5, func() { w.tensor(t) })
	}
	for _, v := range g.inputs {
		w.message(11, func() { w.value(v) })
	}
	for _, v := range g.outputs {
		w.message(12, func() { w.value(v) })
	}
}

func (w *writer) node(n *node) {
	for _, s := range n.inputs {
		w.text(1, s)
	}
	for _, s := range n.outputs {
		w.text(2, s)
	}
	w.text(3, n.name)
	w.text(4, n.op)
	for _, a := range n.attributes {
		w.message(5, func() { w.attribute(a) })
	}
	w.text(7, n.domain)
}

func (w *writer) attribute(a *attribute) {
	w.text(1, a.name)
	field := payload[a.kind]
	switch a.kind {
	case attrFloat, attrFloats:
		for b := a.floats; len(b) > 0; b = b[4:] {
			w.tag(field, protowire.Fixed32Type)
			w.b = append(w.b, b[:4]...)
		}
	case attrInt, attrInts:
		for _, v := range a.ints {
			w.varint(field, v)
		}
	}
	for _, s := range a.strings {
		w.bytes(field, s)
	}
	for _, t := range a.tensors {
		w.message(field, func() { w.tensor(t) })
	}
	for _, g := range a.graphs {
		w.message(field, func() { w.graph(g) })
	}
	for _, t := range a.types {
		w.message(field, func() { w.typ(t) })
	}
	w.varint(20, a.kind)
}

func (w *writer) tensor(t *tensor) {
	for _, d := range t.dims {
		w.varint(1, d)
	}
	w.varint(2, int64(t.elem))
	for _, s := range t.texts {
		w.bytes(6, s)
	}
	w.text(8, t.name)
	if t.raw != nil {
		w.bytes(9, t.raw)
	}
}

func (w *writer) value(v *value) {
	w.text(1, v.name)
	if v.typ != nil {
		w.message(2, func() { w.typ(v.typ) })
	}
}

func (w *writer) typ(t *typ) {
	switch t.kind {
	case tensorKind:
		w.message(1, func() { w.tensorType(t) })
	case sequenceKind:
		w.message(4, func() { w.message(1, func() { w.typ(t.of) }) })
	case optionalKind:
		w.message(9, func() { w.message(1, func() { w.typ(t.of) }) })
	case mapKind:
		w.message(5, func() {
			w.varint(1, int64(t.elem))
			w.message(2, func() { w.typ(t.of) })
		})
	}
}

func (w *writer) tensorType(t *typ) {
	w.varint(1, int64(t.elem))
	if !t.hasShape {
		return
	}
	w.message(2, func() {
		for _, d := range t.dims {
			w.message(1, func() {
				switch {
				case d.size >= 0:
					w.varint(1, d.size)
				case d.name != "":
					w.text(2, d.name)
				}
			})
		}
	})
}
