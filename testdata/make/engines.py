"""Writes the tree ensembles that the benchmark of engines compares, as their exporters write them.

usage: engines.py TESTDATA_DIR    (needs numpy 2.4.6, scikit-learn 1.9.1, skl2onnx 1.20.0, onnx 1.22.0, onnxmltools 1.16.0,
                                   lightgbm 4.7.0, xgboost 3.2.0)

TESTDATA_DIR/bench/engines gets the graphs. skl2onnx.onnx is the isolation forest that forest.py writes as one fused
ensemble. The boosted trees learn its scores, of rows that are drawn around its training rows.
"""
import pathlib
import sys

import lightgbm
import numpy as np
import onnxmltools
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest


def main():
    folder = pathlib.Path(sys.argv[1]) / "bench" / "engines"
    folder.mkdir(parents=True, exist_ok=True)
    x = load_breast_cancer().data.astype(np.float32)
    order = np.random.RandomState(7).permutation(len(x))
    train = x[order[:400]]
    forest = IsolationForest(n_estimators=100, random_state=0).fit(train)
    random = np.random.RandomState(0)
    rows = train[random.randint(len(train), size=5000)] * np.exp(random.randn(5000, x.shape[1]) * 0.1).astype(np.float32)
    scores = -forest.decision_function(rows)
    of = [("X", FloatTensorType([None, x.shape[1]]))]
    graphs = {
        "skl2onnx": to_onnx(forest, train[:1], target_opset={"": 17, "ai.onnx.ml": 3}),
        "lightgbm": onnxmltools.convert_lightgbm(lightgbm.LGBMRegressor(n_estimators=100, random_state=0, verbose=-1).fit(rows, scores), initial_types=of, target_opset=15),
        "xgboost": onnxmltools.convert_xgboost(xgboost.XGBRegressor(n_estimators=100, max_depth=6, random_state=0).fit(rows, scores), initial_types=of, target_opset=15),
    }
    for name, graph in graphs.items():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())


main()
