"""Fits the forest that all servers serve, and scores the rows that they are asked about.

usage: fit.py TESTDATA OUT

The forest is that of TESTDATA/bench/models/forest, so the graph there is the same forest as one fused
node. OUT gets forest.joblib, forest.onnx as skl2onnx writes it, and reference.json with scikit-learn's
scores of TESTDATA/bench/rows.csv. The data are scikit-learn's copy of the Breast Cancer Wisconsin
(Diagnostic) set, https://doi.org/10.24432/C5DW2B, CC BY 4.0.
"""
import csv
import json
import pathlib
import sys

import joblib
import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest


def main():
    testdata, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    x = load_breast_cancer().data.astype(np.float32)
    train = x[np.random.RandomState(7).permutation(len(x))[:400]]
    forest = IsolationForest(n_estimators=100, random_state=0).fit(train)
    joblib.dump(forest, out / "forest.joblib")
    graph = to_onnx(forest, train[:1], target_opset={"": 17, "ai.onnx.ml": 3})
    (out / "forest.onnx").write_bytes(graph.SerializeToString())
    with open(testdata / "bench" / "rows.csv") as file:
        rows = np.array(list(csv.reader(file))[1:], dtype=np.float32)
    (out / "reference.json").write_text(json.dumps(forest.decision_function(rows).tolist()))


main()
