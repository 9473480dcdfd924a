"""Writes graphs of skl2onnx that compare rows with training rows.

usage: neighbours.py OUT_DIR    (needs scikit-learn 1.9.1, skl2onnx 1.20.0, numpy)
"""
import pathlib
import sys

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(out):
    rows = np.random.RandomState(0).normal(0, 1, (150, 5)).astype(np.float32)
    nearest = NearestNeighbors(n_neighbors=5).fit(rows)
    nearest.radius = None  # the converter takes one of the two
    models = {
        "lof": LocalOutlierFactor(20, novelty=True),
        "lof-manhattan": LocalOutlierFactor(12, novelty=True, metric="manhattan"),
        "lof-minkowski": LocalOutlierFactor(12, novelty=True, metric="minkowski", p=3),
        "lof-cosine": LocalOutlierFactor(12, novelty=True, metric="cosine"),
        "lof-scaled": make_pipeline(StandardScaler(), LocalOutlierFactor(20, novelty=True)),
    }
    made = {name: model.fit(rows) for name, model in models.items()}
    for name, model in (made | {"nearest": nearest}).items():
        graph = to_onnx(model, initial_types=[("X", FloatTensorType([None, 5]))], target_opset={"": 17, "ai.onnx.ml": 3})
        (pathlib.Path(out) / (name + ".onnx")).write_bytes(graph.SerializeToString())


main(sys.argv[1])
