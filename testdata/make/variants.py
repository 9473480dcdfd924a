"""Writes small models of every kind of input and output, and suspicious ones, with their scores.

usage: variants.py TESTDATA_DIR    (needs onnx 1.23.2, onnxruntime 1.28.0, numpy)

Writes TESTDATA_DIR/variants/<name>.onnx, and <name>.json with eight rows and the raw score of
each. A host must not serve TESTDATA_DIR/suspicious/<name>.onnx, or not without a warning.
"""
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh

ROWS = 8
TYPES = {T.FLOAT: np.float32, T.DOUBLE: np.float64, T.INT64: np.int64, T.BOOL: np.bool_, T.STRING: object}


def info(name, kind, shape):
    return h.make_tensor_value_info(name, kind, shape)


def const(name, value, kind=np.float32):
    return nh.from_array(np.asarray(value, kind), name)


def model(nodes, inputs, outputs, initializers=(), functions=(), domains=()):
    graph = h.make_graph(nodes, "g", inputs, outputs, list(initializers))
    opsets = [h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3), *domains]
    return h.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))


def node(op, inputs, outputs, **attributes):
    return h.make_node(op, inputs, outputs, **attributes)


def total(source="X", target="score", keep=1):
    return node("ReduceSum", [source, "axis"], [target], keepdims=keep)


AXIS = const("axis", [1], np.int64)
X = [info("X", T.FLOAT, ["N", 4])]
SCORE = [info("score", T.FLOAT, ["N", 1])]


def encode(source, target):
    return node("LabelEncoder", [source], [target], domain="ai.onnx.ml", keys_strings=["a", "b", "c"],
                values_floats=[1.0, 2.0, 4.0], default_float=-1.0)


def variants():
    cast = lambda source, target, kind: node("Cast", [source], [target], to=kind)
    yield "f64-tensor", model([total(keep=0)], [info("X", T.DOUBLE, ["N", 4])], [info("score", T.DOUBLE, ["N"])], [AXIS])
    yield "i64-tensor", model([cast("X", "f", T.FLOAT), total("f")], [info("X", T.INT64, ["N", 3])], SCORE, [AXIS])
    yield "bool-tensor", model([cast("X", "f", T.FLOAT), total("f")], [info("X", T.BOOL, ["N", 3])], SCORE, [AXIS])
    yield "string-tensor", model([encode("X", "f"), total("f")], [info("X", T.STRING, ["N", 2])], SCORE, [AXIS])
    # The C library loads the locale from files.
    yield "string-locale", model([node("Squeeze", ["X", "axis"], ["s"]), node("StringNormalizer", ["s"], ["l"], case_change_action="LOWER", locale="C.UTF-8"),
                                  encode("l", "f"), node("Unsqueeze", ["f", "axis"], ["score"])], [info("X", T.STRING, ["N", 1])], SCORE, [AXIS])
    yield "fixed-batch", model([total()], [info("X", T.FLOAT, [4, 3])], [info("score", T.FLOAT, [4, 1])], [AXIS])
    yield "fixed-one", model([total(keep=0)], [info("X", T.FLOAT, [1, 3])], [info("score", T.FLOAT, [1])], [AXIS])
    kinds = {"real": T.FLOAT, "precise": T.DOUBLE, "whole": T.INT64, "flag": T.BOOL, "word": T.STRING}
    nodes = [cast(name, name + "_d", T.DOUBLE) for name in ("real", "whole", "flag")]
    nodes += [encode("word", "word_f"), cast("word_f", "word_d", T.DOUBLE)]
    nodes.append(node("Sum", ["real_d", "precise", "whole_d", "flag_d", "word_d"], ["score"]))
    yield "columns-all", model(nodes, [info(k, v, ["N", 1]) for k, v in kinds.items()], [info("score", T.DOUBLE, ["N", 1])])
    yield "columns-rank1", model([node("Sub", ["a", "b"], ["score"])], [info(k, T.FLOAT, ["N"]) for k in "ab"],
                                 [info("score", T.FLOAT, ["N"])])
    yield "plain-sum", model([total()], X, SCORE, [AXIS])
    yield "plain-sum-v2", model([total(target="t"), node("Add", ["t", "one"], ["score"])], X, SCORE, [AXIS, const("one", 1)])
    yield "no-shapes", model([total()], [info("X", T.FLOAT, [None, 3])], [info("score", T.FLOAT, None)], [AXIS])
    yield "data-loop", loop()
    yield "local-function", local_function()


def loop():
    """Makes a loop with as many turns as the first column says: slow for large values, endless for huge ones."""
    body = h.make_graph([node("Identity", ["go"], ["go_out"]), node("Add", ["acc", "zero"], ["acc_out"])], "body",
                        [info("i", T.INT64, []), info("go", T.BOOL, []), info("acc", T.FLOAT, ["N", 1])],
                        [info("go_out", T.BOOL, []), info("acc_out", T.FLOAT, ["N", 1])], [const("zero", 0)])
    nodes = [total(target="t"), node("Gather", ["X", "first"], ["column"], axis=1), node("ReduceMax", ["column"], ["most"], keepdims=0),
             node("Cast", ["most"], ["turns"], to=T.INT64), node("Loop", ["turns", "on", "t"], ["score"], body=body)]
    return model(nodes, X, SCORE, [AXIS, const("first", [0], np.int64), const("on", True, np.bool_)])


def local_function():
    opset = h.make_opsetid("", 17)
    axis = node("Constant", [], ["axis"], value=const("v", [1], np.int64))
    function = h.make_function("local", "RowSum", ["x"], ["y"], [axis, node("ReduceSum", ["x", "axis"], ["y"], keepdims=1)], [opset])
    return model([node("RowSum", ["X"], ["score"], domain="local")], X, SCORE, functions=[function], domains=[h.make_opsetid("local", 1)])


def external(name, location):
    t = onnx.TensorProto(name=name, data_type=T.FLOAT, dims=[4, 1], data_location=T.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        t.external_data.add(key=key, value=value)
    return t


def branches(then, otherwise):
    return node("If", ["on"], ["score"], then_branch=then, else_branch=otherwise)


def suspicious():
    scalar = [info("score", T.FLOAT, [])]
    yield "batch-coupled", model([total(target="t"), node("ReduceMean", ["t"], ["m"], keepdims=0), node("Sub", ["t", "m"], ["score"])], X, SCORE, [AXIS])
    yield "random", model([total(target="t"), node("RandomNormalLike", ["t"], ["r"]), node("Add", ["t", "r"], ["score"])], X, SCORE, [AXIS])
    yield "rank3-output", model([total(target="t"), node("Unsqueeze", ["t", "axis"], ["score"])], X, [info("score", T.FLOAT, ["N", 1, 1])], [AXIS])
    yield "string-output", model([total(target="t"), node("Cast", ["t"], ["score"], to=T.STRING)], X, [info("score", T.STRING, ["N", 1])], [AXIS])
    yield "scalar-output", model([node("ReduceMean", ["X"], ["score"], keepdims=0)], X, scalar)
    yield "one-score", model([node("ReduceMean", ["X"], ["m"], keepdims=0), node("Unsqueeze", ["m", "zero"], ["score"])], X,
                             [info("score", T.FLOAT, [1])], [const("zero", [0], np.int64)])
    yield "one-score-undeclared", model([node("ReduceMean", ["X"], ["m"], keepdims=0), node("Unsqueeze", ["m", "zero"], ["score"])], X,
                                        [info("score", T.FLOAT, None)], [const("zero", [0], np.int64)])
    twice = model([total(target="t"), node("Add", ["t", "c"], ["score"])], X, SCORE, [AXIS, const("c", 1), const("c", 2)])
    yield "duplicate-initializer", twice
    yield "unknown-field", model([total()], X, SCORE, [AXIS]).SerializeToString() + bytes([0xC2, 0x3E, 0x03]) + b"abc"
    yield "nonzero", model([total(target="t"), node("NonZero", ["X"], ["where"]), node("Shape", ["where"], ["s"]), node("Cast", ["s"], ["f"], to=T.FLOAT),
                            node("ReduceMax", ["f"], ["m"], keepdims=0), node("Add", ["t", "m"], ["score"])], X, SCORE, [AXIS])
    yield "data-expand", model([total(target="t"), node("Cast", ["t"], ["n"], to=T.INT64), node("ReduceMax", ["n"], ["size"], keepdims=1),
                                node("Reshape", ["size", "one"], ["shape"]), node("ConstantOfShape", ["shape"], ["big"]),
                                node("ReduceSum", ["big"], ["b"], keepdims=0), node("Add", ["t", "b"], ["score"])], X, SCORE,
                               [AXIS, const("one", [1], np.int64)])
    yield "mem-addr", model([node("MatMul", ["X", "w"], ["score"])], X, SCORE, [external("w", "*/_ORT_MEM_ADDR_/*")])
    side = lambda w: h.make_graph([node("MatMul", ["X", "w"], ["y"])], "side", [], [info("y", T.FLOAT, ["N", 1])], [w])
    yield "subgraph-external", model([branches(side(external("w", "x.bin")), side(const("w", np.ones((4, 1)))))], X, SCORE, [const("on", True, np.bool_)])
    yield "broadcast-bomb", model([total(target="t"), node("Add", ["tall", "wide"], ["big"]), node("ReduceSum", ["big"], ["b"], keepdims=0),
                                   node("Add", ["t", "b"], ["score"])], X, SCORE,
                                  [AXIS, const("tall", np.ones((20000, 1))), const("wide", np.ones((1, 20000)))])
    deep = h.make_graph([total(target="y")], "leaf", [], [info("y", T.FLOAT, ["N", 1])])
    for level in range(20):
        deep = h.make_graph([node("If", ["on"], [f"v{level}"], then_branch=deep, else_branch=side(const("w", np.ones((4, 1)))))],
                            f"level{level}", [], [info(f"v{level}", T.FLOAT, ["N", 1])])
    yield "deep-subgraph", model([branches(deep, side(const("w", np.ones((4, 1)))))], X, SCORE, [AXIS, const("on", True, np.bool_)])


def rows_of(value, rng):
    kind, width = TYPES[value.type.tensor_type.elem_type], [d.dim_value for d in value.type.tensor_type.shape.dim][1:]
    shape = (ROWS, *width)
    if kind is object:
        return rng.choice(["a", "b", "c", "other"], shape).astype(object)
    if kind is np.bool_:
        return rng.random(shape) < 0.5
    return (rng.integers(-5, 6, shape) if kind is np.int64 else rng.normal(0, 3, shape).round(4)).astype(kind)


def plain(v):
    if isinstance(v, np.float32):
        return float(str(v))
    return v.item() if isinstance(v, np.generic) else v


def expected(blob):
    proto = onnx.load_from_string(blob)
    session = ort.InferenceSession(blob, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    feed = {v.name: rows_of(v, rng) for v in proto.graph.input}
    fixed = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value or ROWS
    raw = np.concatenate([np.ravel(session.run(["score"], {k: v[i:i + fixed] for k, v in feed.items()})[0]) for i in range(0, ROWS, fixed)])
    columns = [feed[v.name] for v in proto.graph.input]
    table = columns[0] if len(columns) == 1 and columns[0].ndim == 2 and columns[0].shape[1] > 1 else [list(r) for r in zip(*[np.ravel(c) for c in columns])]
    return {"rows": [[plain(v) for v in row] for row in table], "raw": [float(v) for v in raw]}


def main(root):
    for folder, models in (("variants", variants()), ("suspicious", suspicious())):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name, proto in models:
            blob = proto if isinstance(proto, bytes) else proto.SerializeToString()
            (root / folder / f"{name}.onnx").write_bytes(blob)
            if folder == "variants":
                (root / folder / f"{name}.json").write_text(json.dumps(expected(blob)) + "\n")


main(pathlib.Path(sys.argv[1]))
