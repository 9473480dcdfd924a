package graph

// valueInfo reads a ValueInfoProto.
func valueInfo(b []byte) (Value, error) {
	v := Value{Kind: "a value of no type"}
	err := each("a value", b, fields{
		1: text(&v.Name), 3: nil, 4: nil,
		2: func(b []byte, _ uint64) error { return typeProto(b, &v) },
	})
	return v, err
}

func typeProto(b []byte, v *Value) error {
	is := func(kind string) func([]byte, uint64) error {
		return func([]byte, uint64) error { v.Kind = kind; return nil }
	}
	return each("a type", b, fields{
		1: func(b []byte, _ uint64) error { v.Kind = tensorKind; return tensorType(b, v) },
		4: is("a sequence"), 5: is("a map"), 6: nil, 7: is("an opaque value"), 8: is("a sparse tensor"), 9: is("an optional value"),
	})
}

func tensorType(b []byte, v *Value) error {
	return each("a tensor type", b, fields{
		1: func(_ []byte, e uint64) error { v.Elem = ElemType(e); return nil },
		2: func(b []byte, _ uint64) error {
			v.HasShape = true
			return each("a shape", b, fields{1: func(b []byte, _ uint64) error { return dimension(b, v) }})
		},
	})
}

func dimension(b []byte, v *Value) error {
	size := int64(-1)
	err := each("a dimension", b, fields{
		1: func(_ []byte, d uint64) error { size = int64(d); return nil },
		2: nil, 3: nil,
	})
	if len(v.Dims) >= MaxRank {
		return problem(TooLarge, "%.80q has more than %d dimensions", v.Name, MaxRank)
	}
	if size > MaxElements {
		return problem(TooLarge, "%.80q has a dimension of %d", v.Name, size)
	}
	v.Dims = append(v.Dims, max(size, -1))
	return err
}
