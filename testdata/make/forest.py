"""Trains the isolation forest of the benchmark and writes it as one fused tree ensemble.

usage: forest.py TESTDATA_DIR    (needs scikit-learn 1.9.1, onnx 1.23.2, onnxruntime 1.28.0, numpy)

TESTDATA_DIR/bench/models/forest/1.0.0 is a model directory. TESTDATA_DIR/bench/rows.csv holds the
rows that the benchmark sends. The data are scikit-learn's copy of the Breast Cancer Wisconsin (Diagnostic)
set, https://doi.org/10.24432/C5DW2B, CC BY 4.0.
"""
import csv
import hashlib
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper as h, numpy_helper as nh
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest

EULER = 0.5772156649015329


def mean_path(n):
    """Returns the average depth of an unsuccessful search in a binary search tree of n keys (Liu et al. 2008)."""
    return 0.0 if n <= 1 else 1.0 if n == 2 else 2 * (np.log(n - 1) + EULER) - 2 * (n - 1) / n


def not_above(value):
    """Returns the largest float32 that is not above value, so that comparisons with float32 inputs stay the same."""
    single = np.float32(value)
    return float(single if single <= value else np.nextafter(single, np.float32(-np.inf)))


def ensemble(forest):
    """Returns the attributes of one TreeEnsembleRegressor whose output is the total path length of a row."""
    nodes, leaves = [], []
    for number, (fitted, columns) in enumerate(zip(forest.estimators_, forest.estimators_features_)):
        tree = fitted.tree_
        todo = [(0, 0)]
        while todo:
            at, depth = todo.pop()
            left, right = int(tree.children_left[at]), int(tree.children_right[at])
            if left < 0:
                nodes.append((number, at, 0, "LEAF", 0.0, 0, 0))
                leaves.append((number, at, 0, float(depth + mean_path(int(tree.n_node_samples[at])))))
                continue
            nodes.append((number, at, int(columns[tree.feature[at]]), "BRANCH_LEQ", not_above(tree.threshold[at]), left, right))
            todo += [(right, depth + 1), (left, depth + 1)]
    nodes.sort(key=lambda n: n[:2])
    leaves.sort(key=lambda n: n[:2])
    names = ["treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids"]
    attributes = {f"nodes_{name}": list(column) for name, column in zip(names, zip(*nodes))}
    names = ["treeids", "nodeids", "ids", "weights"]
    attributes |= {f"target_{name}": list(column) for name, column in zip(names, zip(*leaves))}
    return attributes


def graph(forest, width):
    const = lambda name, value: nh.from_array(np.array(value, np.float32), name)
    scale = mean_path(int(forest.max_samples_)) * len(forest.estimators_)
    nodes = [
        h.make_node("TreeEnsembleRegressor", ["X"], ["path"], domain="ai.onnx.ml", n_targets=1, **ensemble(forest)),
        h.make_node("Mul", ["path", "factor"], ["exponent"]),
        h.make_node("Pow", ["two", "exponent"], ["anomaly"]),
        h.make_node("Neg", ["anomaly"], ["normality"]),
        h.make_node("Sub", ["normality", "offset"], ["scores"]),
    ]
    made = h.make_graph(
        nodes, "forest",
        [h.make_tensor_value_info("X", TensorProto.FLOAT, ["N", width])],
        [h.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 1])],
        [const("factor", -1 / scale), const("two", 2), const("offset", forest.offset_)])
    model = h.make_model(made, opset_imports=[h.make_opsetid("", 17), h.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main():
    target = pathlib.Path(sys.argv[1]) / "bench"
    folder = target / "models" / "forest" / "1.0.0"
    folder.mkdir(parents=True, exist_ok=True)
    data = load_breast_cancer()
    names = [name.replace(" ", "_") for name in data.feature_names]
    x = data.data.astype(np.float32)
    order = np.random.RandomState(7).permutation(len(x))
    train, test = x[order[:400]], x[order[400:]]
    forest = IsolationForest(n_estimators=100, random_state=0).fit(train)
    model = graph(forest, x.shape[1])
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    got = ort.InferenceSession(model.SerializeToString()).run(None, {"X": test})[0][:, 0]
    want = forest.decision_function(test)
    assert np.abs(got - want).max() < 1e-6, np.abs(got - want).max()
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "model.yaml").write_text("\n".join([
        "# yaml-language-server: $schema=../../../../../manifest/model.schema.json",
        "apiVersion: pynomaly.io/v1",
        "kind: Model",
        "id: forest",
        "version: 1.0.0",
        "description: Breast Cancer Wisconsin (Diagnostic), 400 training rows, CC BY 4.0",
        'algorithm: "IsolationForest(n_estimators=100, random_state=0)"',
        "backend: onnx",
        "artifact: model.onnx",
        f"digest: sha256:{digest}",
        "features:",
        *(f"  - {{name: {name}, dtype: float32}}" for name in names),
        "input: X",
        "output: {name: scores, orientation: higher_is_normal}",
        "threshold: 0",
        "golden: {rows: golden.ndjson, tolerance: 1.0e-6}",
    ]) + "\n")
    with open(folder / "golden.ndjson", "w") as file:
        for row, score in zip(test[:8], want):
            values = {name: float(str(v)) for name, v in zip(names, row)}
            file.write(json.dumps({"data": values, "score": float(-score)}) + "\n")
    with open(target / "rows.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([str(v) for v in row] for row in test)


main()
