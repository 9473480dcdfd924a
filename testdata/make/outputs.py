"""Writes small models whose outputs or inputs need model.yaml, with their scores.

usage: outputs.py TESTDATA_DIR    (needs onnx, onnxruntime 1.28.0, numpy)

Writes TESTDATA_DIR/outputs/<name>.onnx, and <name>.json: what model.yaml says of the features and
the output, sixteen rows, and the score of each. The scores are ONNX Runtime's values, reduced in
float64 by NumPy.
"""
import json
import pathlib
import sys

import numpy as np
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh

ROWS = 16
NUMPY = {"float32": np.float32, "float64": np.float64, "int64": np.int64, "bool": np.bool_, "string": object}
ONNX = {"float32": T.FLOAT, "float64": T.DOUBLE, "int64": T.INT64, "bool": T.BOOL, "string": T.STRING}
ML = "ai.onnx.ml"


def info(name, kind, shape):
    return h.make_tensor_value_info(name, kind, shape)


def const(name, value, kind=np.float32):
    return nh.from_array(np.asarray(value, kind), name)


def node(op, inputs, outputs, domain="", **attributes):
    return h.make_node(op, inputs, outputs, domain=domain, **attributes)


def model(nodes, inputs, outputs, initializers=()):
    graph = h.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 17), h.make_opsetid(ML, 3)], ir_version=8)


def features(names, dtype="float32", source=None):
    return [{"name": n, "dtype": dtype, **({"input": source} if source else {})} for n in names]


def classifier(zipped, labels):
    """Makes a linear classifier with a probability for each of its labels, as a matrix or as maps."""
    rng, n = np.random.default_rng(len(labels)), len(labels)
    texts = isinstance(labels[0], str)
    coefficients, intercepts = rng.normal(0, 1, (n, 4)).round(3), rng.normal(0, 1, n).round(3)
    which = {"classlabels_strings": labels} if texts else {"classlabels_ints": labels}
    nodes = [node("LinearClassifier", ["float_input"], ["label", "raw"], ML, coefficients=coefficients.ravel().tolist(),
                  intercepts=intercepts.tolist(), post_transform="SOFTMAX", **which)]
    outputs = [info("label", T.STRING if texts else T.INT64, ["N"])]
    if zipped:
        which = {"classlabels_strings": labels} if texts else {"classlabels_int64s": labels}
        nodes.append(node("ZipMap", ["raw"], ["output_probability"], ML, **which))
        key = T.STRING if texts else T.INT64
        maps = h.make_sequence_type_proto(h.make_map_type_proto(key, h.make_tensor_type_proto(T.FLOAT, None)))
        outputs.append(h.make_value_info("output_probability", maps))
    else:
        nodes.append(node("Identity", ["raw"], ["probabilities"]))
        outputs.append(info("probabilities", T.FLOAT, ["N", n]))
    return model(nodes, [info("float_input", T.FLOAT, ["N", 4])], outputs)


def autoencoder(dtype, shape_in, shape_out):
    """Makes a network that rebuilds its row through two hidden values."""
    rng, d = np.random.default_rng(3), shape_in[1]
    kind = NUMPY[dtype]
    nodes = [node("MatMul", ["input", "w"], ["a"]), node("Relu", ["a"], ["b"]), node("MatMul", ["b", "v"], ["c"]), node("Add", ["c", "u"], ["output"])]
    weights = [const("w", rng.normal(0, 1, (d, 2)).round(3), kind), const("v", rng.normal(0, 1, (2, d)).round(3), kind), const("u", rng.normal(0, 1, d).round(3), kind)]
    return model(nodes, [info("input", ONNX[dtype], shape_in)], [info("output", ONNX[dtype], shape_out)], weights)


def encode(source, target):
    return node("LabelEncoder", [source], [target], ML, keys_strings=["a", "b", "c"], values_floats=[1.0, 2.0, 4.0], default_float=-1.0)


def total(source, target):
    return node("ReduceSum", [source, "axis"], [target], keepdims=1)


AXIS = const("axis", [1], np.int64)


def cases():
    names = ["amount", "age", "visits", "ratio"]
    pair = classifier(False, [0, 1])
    yield "classifier", pair, features(names), {"name": "probabilities", "column": 1}
    yield "classifier-first", pair, features(names), {"name": "probabilities", "column": 0}
    yield "classifier-zipmap", classifier(True, [0, 1]), features(names), {"name": "output_probability", "column": 1}
    yield "classifier-words", classifier(True, ["bad", "fair", "good"]), features(names), {"name": "output_probability", "column": 0}
    yield "autoencoder", autoencoder("float32", ["N", 4], ["N", 4]), features(names), {"name": "output", "reconstruction": "mse"}
    yield "autoencoder-mae", autoencoder("float32", ["N", 4], None), features(names), {"name": "output", "reconstruction": "mae"}
    yield "autoencoder-f64", autoencoder("float64", ["N", 3], ["N", "M"]), features(names[:3], "float64"), {"name": "output", "reconstruction": "mse"}
    yield "autoencoder-fixed", autoencoder("float32", [4, 3], [4, 3]), features(names[:3]), {"name": "output", "reconstruction": "mse"}
    yield "columns-undeclared", autoencoder("float64", ["N", 3], None), features(names[:3], "float64"), {"name": "output", "column": 2}

    # One tree: by the first feature, then by the second; what is missing goes to the right.
    tree = node("TreeEnsembleRegressor", ["input"], ["variable"], ML, n_targets=1, nodes_treeids=[0] * 5, nodes_nodeids=[0, 1, 2, 3, 4],
                nodes_featureids=[0, 1, 0, 0, 0], nodes_modes=["BRANCH_LT", "BRANCH_LT", "LEAF", "LEAF", "LEAF"], nodes_values=[0.5, -0.25, 0.0, 0.0, 0.0],
                nodes_truenodeids=[1, 3, 0, 0, 0], nodes_falsenodeids=[2, 4, 0, 0, 0], nodes_missing_value_tracks_true=[0] * 5,
                target_ids=[0] * 3, target_nodeids=[2, 3, 4], target_treeids=[0] * 3, target_weights=[3.0, 1.0, 2.0])
    yield "tree", model([tree], [info("input", T.FLOAT, ["N", 4])], [info("variable", T.FLOAT, ["N", 1])]), features(names), {"name": "variable"}

    cast = lambda source, target: node("Cast", [source], [target], to=T.DOUBLE)
    kinds = {"input_0": "float32", "input_1": "float64", "input_2": "int64", "input_3": "bool", "input_4": "string"}
    renamed = [{"name": n, "dtype": d, "input": i} for n, (i, d) in zip(["sepal length (cm)", "amount.eur", "count", "member?", "Zahlungsart"], kinds.items())]
    nodes = [cast(i, i + "_d") for i in list(kinds)[:4]] + [encode("input_4", "e"), cast("e", "input_4_d"), node("Sum", [i + "_d" for i in kinds], ["score"])]
    graph = model(nodes, [info(i, ONNX[d], ["N", 1]) for i, d in kinds.items()], [info("score", T.DOUBLE, ["N", 1])])
    yield "renamed", graph, renamed[::-1], {"name": "score"}  # the order of the features is the people's

    widths = {"num": ("float32", 2), "big": ("float64", 2), "whole": ("int64", 2), "flag": ("bool", 2), "word": ("string", 2)}
    nodes, sums = [], []
    for i, (d, w) in widths.items():
        nodes += [encode(i, i + "_e"), cast(i + "_e", i + "_c")] if d == "string" else [cast(i, i + "_c")]
        nodes += [node("Mul", [i + "_c", "weights"], [i + "_w"]), total(i + "_w", i + "_s")]
        sums.append(i + "_s")
    nodes.append(node("Sum", sums, ["score"]))
    graph = model(nodes, [info(i, ONNX[d], ["N", w]) for i, (d, w) in widths.items()], [info("score", T.DOUBLE, ["N", 1])],
                  [AXIS, const("weights", [[1, 10]], np.float64)])
    columns = [{"name": f"{i} {k}", "dtype": d, "input": i} for k in range(2) for i, (d, w) in widths.items()]
    yield "grouped", graph, columns, {"name": "score"}

    nodes = [total("num", "s"), node("Gather", ["cat", "zero"], ["c"], axis=1), node("Sub", ["s", "c"], ["score"])]
    graph = model(nodes, [info("num", T.FLOAT, ["N", 2]), info("cat", T.FLOAT, ["N", 1])], [info("score", T.FLOAT, ["N", 1])],
                  [AXIS, const("zero", [0], np.int64)])
    yield "grouped-dense", graph, features(["cat"], source="cat") + features(["x", "y"], source="num"), {"name": "score"}


def column(dtype, rng):
    if dtype == "string":
        return rng.choice(["a", "b", "c", "other"], ROWS).astype(object)
    if dtype == "bool":
        return rng.random(ROWS) < 0.5
    return (rng.integers(-5, 6, ROWS) if dtype == "int64" else rng.normal(0, 2, ROWS).round(4)).astype(NUMPY[dtype])


def plain(v):
    if isinstance(v, np.float32):
        return float(str(v))
    return v.item() if isinstance(v, np.generic) else v


def scores(blob, fields, columns, output):
    session = ort.InferenceSession(blob, providers=["CPUExecutionProvider"])
    feed = {}
    for v in session.get_inputs():
        taken = [c for f, c in zip(fields, columns) if f.get("input", v.name) == v.name]
        feed[v.name] = np.stack(taken, axis=1)
    fixed = session.get_inputs()[0].shape[0]
    fixed = fixed if isinstance(fixed, int) else ROWS
    parts = [session.run([output["name"]], {k: v[i:i + fixed] for k, v in feed.items()})[0] for i in range(0, ROWS, fixed)]
    if isinstance(parts[0], list):  # maps by class, in the order of the classes
        values = np.array([list(row.values()) for part in parts for row in part], np.float32)
    else:
        values = np.concatenate(parts)
    if "column" in output:
        return values[:, output["column"]].astype(np.float64)
    if "reconstruction" in output:
        by = values.astype(np.float64) - np.stack(columns, axis=1).astype(np.float64)
        return (by * by if output["reconstruction"] == "mse" else np.abs(by)).mean(axis=1)
    return values.ravel().astype(np.float64)


def main(root):
    folder = root / "outputs"
    folder.mkdir(parents=True, exist_ok=True)
    for name, proto, fields, output in cases():
        blob = proto.SerializeToString()
        (folder / f"{name}.onnx").write_bytes(blob)
        rng = np.random.default_rng(7)
        columns = [column(f["dtype"], rng) for f in fields]
        out = {"features": fields, "output": output, "rows": [[plain(v) for v in row] for row in zip(*columns)],
               "scores": [float(v) for v in scores(blob, fields, columns, output)]}
        (folder / f"{name}.json").write_text(json.dumps(out, ensure_ascii=False) + "\n")


main(pathlib.Path(sys.argv[1]))
