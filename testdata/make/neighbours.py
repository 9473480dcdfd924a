"""Writes graphs of skl2onnx that compare rows with training rows.

usage: neighbours.py OUT_DIR    (needs scikit-learn 1.9.1, skl2onnx 1.20.0, numpy)
"""
import pathlib
import sys

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler


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
    made = {name: model.fit(rows) for name, model in models.items()} | {"nearest": nearest}
    made["lof-clipped"] = make_pipeline(MinMaxScaler(clip=True), LocalOutlierFactor(20, novelty=True)).fit(rows)
    made["lof-normalised"] = make_pipeline(Normalizer(), LocalOutlierFactor(20, novelty=True)).fit(rows)
    for name, model in made.items():
        write(out, name, model, FloatTensorType)
    double = rows.astype(np.float64).round(2)  # with ties of sums that are rounded
    for name in ("lof", "lof-manhattan", "lof-minkowski", "lof-scaled", "lof-cosine"):
        write(out, name + "-double", models[name].fit(double), DoubleTensorType)


def write(out, name, model, kind):
    graph = to_onnx(model, initial_types=[("X", kind([None, 5]))], target_opset={"": 17, "ai.onnx.ml": 3})
    (pathlib.Path(out) / (name + ".onnx")).write_bytes(graph.SerializeToString())


main(sys.argv[1])
