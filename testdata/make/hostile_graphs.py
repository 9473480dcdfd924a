"""Writes small graphs that try to harm the host that loads them.

usage: hostile_graphs.py DIR    (needs onnx 1.23.2, numpy 2.4.6)

Writes DIR/<name>.onnx. backends/onnx/hostile_test.go says what must happen to each.
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

X = h.make_tensor_value_info("X", T.FLOAT, ["N", 4])
SCORE = h.make_tensor_value_info("score", T.FLOAT, ["N", 1])
MEGA = 1 << 20


def const(name, value, kind=np.float32):
    return nh.from_array(np.asarray(value, kind), name)


AXIS = const("axis", [1], np.int64)
node = h.make_node


def model(nodes, initializers=(), functions=(), domains=(), outputs=(SCORE,), opset=17):
    graph = h.make_graph(list(nodes), "g", [X], list(outputs), [AXIS, *initializers])
    opsets = [h.make_opsetid("", opset), h.make_opsetid("ai.onnx.ml", 3), *domains]
    return h.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))


TOTAL = node("ReduceSum", ["X", "axis"], ["sum"], keepdims=1)
LARGE = [TOTAL, node("ReduceMax", ["sum"], ["max"], keepdims=0), node("Greater", ["max", "limit"], ["large"])]
LIMIT = const("limit", 1e6)


def plus(name):
    """Makes a graph whose score is a row's sum plus one more value."""
    return [TOTAL, node("Add", ["sum", name], ["score"])]


def external(name, kind=T.UINT8, dims=(1,)):
    t = onnx.TensorProto(name=name, data_type=kind, dims=list(dims), data_location=T.EXTERNAL)
    t.external_data.add(key="location", value="secret")
    return t


def local(name, nodes, inputs=(), outputs=("y",), defaults=(), attributes=()):
    return h.make_function("local", name, list(inputs), list(outputs), nodes, [h.make_opsetid("", 17)],
                           attributes=list(attributes), attribute_protos=list(defaults))


LOCAL = [h.make_opsetid("local", 1)]


# These graphs read files of the host.

def reads():
    take = node("Constant", [], ["byte"])
    take.attribute.append(onnx.AttributeProto(name="value", ref_attr_name="file", type=onnx.AttributeProto.TENSOR))
    default = h.make_attribute("file", external("secret"))
    f = local("Read", [take, node("Cast", ["byte"], ["y"], to=T.FLOAT)], defaults=[default])
    yield "function-default-external", model([node("Read", [], ["b"], domain="local"), *plus("b")], functions=[f], domains=LOCAL)

    inner = h.make_graph([node("Cast", ["t"], ["v"], to=T.FLOAT)], "b", [], [h.make_tensor_value_info("v", T.FLOAT, [1])], [external("t")])
    branch = node("If", ["yes"], ["y"])
    for name in ("then_branch", "else_branch"):
        branch.attribute.append(onnx.AttributeProto(name=name, ref_attr_name="graph", type=onnx.AttributeProto.GRAPH))
    f = local("Read", [branch], inputs=["yes"], defaults=[h.make_attribute("graph", inner)])
    yield "function-default-graph", model([node("Read", ["yes"], ["b"], domain="local"), *plus("b")], [const("yes", True, bool)], [f], LOCAL)

    f = local("Read", [node("Constant", [], ["byte"], value=external("t")), node("Cast", ["byte"], ["y"], to=T.FLOAT)])
    yield "function-external", model([node("Read", [], ["b"], domain="local"), *plus("b")], functions=[f], domains=LOCAL)

    m = model([*plus("b")])
    values = external("b", T.FLOAT)
    m.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=const("i", [0], np.int64), dims=[1]))
    yield "sparse-external", m

    sparse = onnx.SparseTensorProto(values=values, indices=const("i", [0], np.int64), dims=[1])
    yield "sparse-attribute", model([node("Constant", [], ["b"], sparse_value=sparse), *plus("b")])

    m = model([*plus("b")], [const("b", 0)])
    m.training_info.add().initialization.CopyFrom(h.make_graph([], "t", [], [], [external("t")]))
    yield "training-external", m

    bodies = h.make_attribute("unused", [h.make_graph([], "t", [], [], [external("t")])])
    n = node("Add", ["sum", "b"], ["score"])
    n.attribute.append(bodies)
    yield "graphs-external", model([TOTAL, n], [const("b", 0)])


# ONNX Runtime computes these constants when it loads the graph.

def folds():
    def ones(name, shape):
        return node("ConstantOfShape", [shape], [name], value=const("", [1.0]))

    n = 40
    nodes = [TOTAL]
    last = "sum"
    for i in range(n):
        nodes += [ones(f"c{i}", "size"), node("ReduceMax", [f"c{i}"], [f"m{i}"], keepdims=0)]
        nodes.append(node("Add", [last, f"m{i}"], ["score" if i == n - 1 else f"s{i}"]))
        last = f"s{i}"
    yield "fold-many", model(nodes, [const("size", [15 * MEGA], np.int64)])

    square = [ones("a", "tall"), ones("b", "wide"), node("MatMul", ["a", "b"], ["big"]), node("ReduceMax", ["big"], ["m"], keepdims=0)]
    yield "fold-product", model([*square, *plus("m")], [const("tall", [30_000, 1], np.int64), const("wide", [1, 30_000], np.int64)])

    grown = [node("Concat", ["v0", "v0"], ["v1"], axis=0)]
    grown += [node("Concat", [f"v{i}", f"v{i}"], [f"v{i + 1}"], axis=0) for i in range(1, 30)]
    yield "fold-doubling", model([*grown, node("ReduceMax", ["v30"], ["m"], keepdims=0), *plus("m")], [const("v0", [1.0])])

    yield "fold-range", model([node("Range", ["zero", "end", "step"], ["r"]), node("ReduceMax", ["r"], ["m"], keepdims=0), *plus("m")],
                              [const("zero", 0), const("end", 1e6), const("step", 1e-3)])
    taken = [node("Squeeze", ["size"], ["end"]), node("Range", ["zero", "end", "one"], ["r"]), node("Cast", ["r"], ["f"], to=T.FLOAT),
             node("ReduceMax", ["f"], ["m"], keepdims=0)]
    yield "fold-integers", model([*taken, *plus("m")], [const("size", [900 * MEGA], np.int64), const("zero", 0, np.int64), const("one", 1, np.int64)])


# A proof, which runs a graph in a child process, does not run these parts.

def branches():
    def nothing(name="none"):
        return h.make_graph([node("Identity", ["null"], [name])], "else", [], [h.make_tensor_value_info(name, T.FLOAT, [])])

    null = const("null", 0)
    small = [node("Reshape", ["X", "flat"], ["column"]), node("Transpose", ["column"], ["row"])]

    def of_rows(name="bigm"):
        return h.make_graph([node("MatMul", ["column", "row"], ["big"]), node("ReduceMax", ["big"], [name], keepdims=0)], "then", [],
                            [h.make_tensor_value_info(name, T.FLOAT, [])])

    choose = node("If", ["large"], ["b"], then_branch=of_rows(), else_branch=nothing())
    flat = const("flat", [-1, 1], np.int64)
    yield "branch-product", model([*LARGE, *small, choose, node("Add", ["sum", "b"], ["score"])], [LIMIT, flat, null])

    parts = [node("Tile", ["X", "times"], [f"t{i}"]) for i in range(40)]
    parts += [node("ReduceMax", [f"t{i}"], [f"m{i}"], keepdims=0) for i in range(40)]
    parts.append(node("Max", [f"m{i}" for i in range(40)], ["bm"]))
    together = h.make_graph(parts, "then", [], [h.make_tensor_value_info("bm", T.FLOAT, [])])
    choose = node("If", ["large"], ["b"], then_branch=together, else_branch=nothing())
    yield "branch-together", model([*LARGE, choose, node("Add", ["sum", "b"], ["score"])], [LIMIT, null, const("times", [1, 300], np.int64)])

    def sized(op, name, inputs, before=(), **attributes):
        body = [*before, node(op, inputs, ["v"], **attributes), node("Cast", ["v"], ["f"], to=T.FLOAT), node("ReduceMax", ["f"], ["bm"], keepdims=0)]
        g = h.make_graph(body, "then", [], [h.make_tensor_value_info("bm", T.FLOAT, [])])
        choose = node("If", ["large"], ["b"], then_branch=g, else_branch=nothing())
        extra = [LIMIT, null, const("one", 1, np.int64), const("none64", 0, np.int64), const("ones", [1], np.int64), const("fone", [1.0])]
        return name, model([*LARGE, node("Cast", ["max"], ["n"], to=T.INT64), node("Reshape", ["n", "ones"], ["ns"]), choose,
                            node("Add", ["sum", "b"], ["score"])], extra)

    yield sized("Range", "branch-range", ["none64", "n", "one"])
    yield sized("ConstantOfShape", "branch-constant-of-shape", ["ns"])
    yield sized("Expand", "branch-expand", ["fone", "ns"])
    yield sized("Tile", "branch-tile", ["fone", "ns"])
    yield sized("NonZero", "branch-nonzero", ["X"])
    yield sized("Pad", "branch-pad", ["fone", "pads"], before=[node("Concat", ["ns", "ns"], ["pads"], axis=0)])

    # This loop ends at once in a proof. It keeps a value of every turn.
    turn = h.make_graph([node("Greater", ["max", "limit"], ["on"]), node("Identity", ["sum"], ["kept"])], "body",
                        [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("c", T.BOOL, [])],
                        [h.make_tensor_value_info("on", T.BOOL, []), h.make_tensor_value_info("kept", T.FLOAT, None)])
    loop = node("Loop", ["turns", "large"], ["all"], body=turn)
    yield "loop-keeps", model([*LARGE, loop, node("ReduceMax", ["all"], ["b"], keepdims=0), node("Add", ["sum", "b"], ["score"])],
                              [LIMIT, const("turns", 1_000_000, np.int64)])

    double = h.make_graph([node("Greater", ["max", "limit"], ["on"]), node("Concat", ["v", "v"], ["vv"], axis=0)], "body",
                          [h.make_tensor_value_info("i", T.INT64, []), h.make_tensor_value_info("c", T.BOOL, []), h.make_tensor_value_info("v", T.FLOAT, None)],
                          [h.make_tensor_value_info("on", T.BOOL, []), h.make_tensor_value_info("vv", T.FLOAT, None)])
    loop = node("Loop", ["turns", "large", "start"], ["all"], body=double)
    yield "loop-doubles", model([*LARGE, loop, node("ReduceMax", ["all"], ["b"], keepdims=0), node("Add", ["sum", "b"], ["score"])],
                                [LIMIT, const("turns", 30, np.int64), const("start", [1.0])])

    # This value is larger for some number of rows than for one, two and the most.
    shape = [node("Shape", ["X"], ["shape"]), node("Gather", ["shape", "none64"], ["rows"]), node("Sub", ["most", "rows"], ["left"]),
             node("Sub", ["rows", "two"], ["over"]), node("Max", ["over", "none64"], ["above"]), node("Mul", ["left", "above"], ["n"]),
             node("Reshape", ["n", "ones"], ["ns"]), node("ConstantOfShape", ["ns"], ["v"]), node("ReduceSum", ["v"], ["b"], keepdims=0)]
    yield "rows-between", model([*shape, *plus("b")], [const("none64", 0, np.int64), const("most", 10_000, np.int64), const("two", 2, np.int64), const("ones", [1], np.int64)])

    # This slice is empty for the most rows, and has five values for six rows.
    cut = [node("Slice", ["X", "from", "to"], ["few"]), node("Reshape", ["few", "flat"], ["c"]), node("Tile", ["c", "times"], ["v"]),
           node("ReduceSum", ["v"], ["b"], keepdims=0)]
    yield "slice-between", model([*cut, *plus("b")], [const("from", [-5], np.int64), const("to", [7], np.int64), const("flat", [-1, 1], np.int64),
                                                     const("times", [1, 50 * MEGA], np.int64)])

    # Only some rows produce these texts, which are in the model.
    say = [node("Greater", ["sum", "limit"], ["g"]), node("Cast", ["g"], ["k"], to=T.INT64),
           node("LabelEncoder", ["k"], ["text"], domain="ai.onnx.ml", keys_int64s=[1], values_strings=["x" * 100_000], default_string=""),
           node("LabelEncoder", ["text"], ["b"], domain="ai.onnx.ml", keys_strings=["x"], values_floats=[1.0], default_float=0.0)]
    yield "long-texts", model([TOTAL, *say, node("Add", ["sum", "b"], ["score"])], [LIMIT])


# Two readers may understand these graphs differently.

def twice(message, field, value):
    """Appends a field that already exists; protobuf merges the two."""
    tag = field << 3 | 2
    return message.SerializeToString() + bytes([tag]) + varint(len(value)) + value


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def nested(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def with_node(m, index, data):
    """Returns the model with the given bytes in place of a node."""
    del_node = onnx.ModelProto()
    del_node.CopyFrom(m)
    nodes = list(m.graph.node)
    graph = onnx.GraphProto()
    graph.CopyFrom(m.graph)
    del graph.node[:]
    body = b"".join(nested(1, data if i == index else n.SerializeToString()) for i, n in enumerate(nodes)) + graph.SerializeToString()
    del_node.ClearField("graph")
    return del_node.SerializeToString() + nested(7, body)


def differ():
    three = node("Constant", [], ["n"], value=const("", [3], np.int64))
    m = model([three, node("ConstantOfShape", ["n"], ["v"]), node("ReduceMax", ["v"], ["b"], keepdims=0), *plus("b")])
    attribute = twice(three.attribute[0], 5, const("", [2_000_000_000], np.int64).SerializeToString())
    bare = onnx.NodeProto()
    bare.CopyFrom(three)
    bare.ClearField("attribute")
    yield "attribute-tensor-twice", with_node(m, 0, bare.SerializeToString() + nested(5, attribute))

    plain = model([*plus("b")], [const("b", 0)])
    add = plain.graph.node[1]
    yield "operator-twice", with_node(plain, 1, add.SerializeToString() + nested(4, b"Sub"))
    unnamed = onnx.NodeProto()
    unnamed.CopyFrom(add)
    unnamed.ClearField("op_type")
    yield "operator-as-number", with_node(plain, 1, unnamed.SerializeToString() + bytes([4 << 3 | 0, 1]))
    yield "attribute-twice", with_node(m, 0, three.SerializeToString() + nested(5, three.attribute[0].SerializeToString()))
    yield "two-graphs", plain.SerializeToString() + nested(7, m.graph.SerializeToString())

    data = h.make_tensor("n", T.INT64, [1], [3])
    data.raw_data = np.asarray([2_000_000_000], np.int64).tobytes()
    yield "tensor-twofold", model([node("ConstantOfShape", ["n"], ["v"]), node("ReduceMax", ["v"], ["b"], keepdims=0), *plus("b")], [data])

    f = h.make_function("com.microsoft", "Range", ["a", "b", "c"], ["y"], [node("Identity", ["a"], ["y"])], [h.make_opsetid("", 17)])
    used = [*LARGE, node("Range", ["null", "max", "step"], ["r"], domain="com.microsoft"), node("ReduceMax", ["r"], ["b"], keepdims=0),
            node("Add", ["sum", "b"], ["score"])]
    yield "function-native", model(used, [LIMIT, const("null", 0), const("step", 1)], [f], [h.make_opsetid("com.microsoft", 1)])
    f = h.make_function("ai.onnx.ml", "Scaler", ["a"], ["y"], [node("Identity", ["a"], ["y"])], [h.make_opsetid("", 17)])
    yield "function-ml", model([node("Scaler", ["X"], ["s"], domain="ai.onnx.ml"), *plus("b")], [const("b", 0)], [f])

    f = local("Again", [node("Again", ["x"], ["y"], domain="local")], inputs=["x"])
    yield "function-recursive", model([node("Again", ["X"], ["s"], domain="local"), *plus("b")], [const("b", 0)], [f], LOCAL)

    # The name means the outer value if the nodes are read in order, and the inner one if
    # they are sorted first.
    inner = h.make_graph([node("ConstantOfShape", ["n"], ["v"]), node("Identity", ["large64"], ["n"]), node("ReduceMax", ["v"], ["bm"], keepdims=0)],
                         "then", [], [h.make_tensor_value_info("bm", T.FLOAT, [])])
    other = h.make_graph([node("Identity", ["null"], ["e"])], "else", [], [h.make_tensor_value_info("e", T.FLOAT, [])])
    yield "later-name", model([*LARGE, node("If", ["large"], ["b"], then_branch=inner, else_branch=other), node("Add", ["sum", "b"], ["score"])],
                              [LIMIT, const("null", 0), const("n", [1], np.int64), const("large64", [2_000_000_000], np.int64)])


def main(directory):
    out = pathlib.Path(directory)
    out.mkdir(parents=True, exist_ok=True)
    for source in (reads, folds, branches, differ):
        for name, m in source():
            data = m if isinstance(m, bytes) else m.SerializeToString()
            (out / f"{name}.onnx").write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1])
