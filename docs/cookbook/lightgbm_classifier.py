"""A LightGBM classifier that was trained with labels: its probability is the score."""

import subprocess

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.datasets import make_classification

values, fraud = make_classification(4000, 12, n_informative=6, weights=[0.95], random_state=0)
names = [f"f{i}" for i in range(12)]
data = pd.DataFrame(values.astype("float32"), columns=names)
train, rows = data[:3000], data[3000:]
detector = LGBMClassifier(n_estimators=100, random_state=0, verbose=-1).fit(train, fraud[:3000])

# Without zipmap the graph has the labels, and the probabilities of both classes.
graph = convert_lightgbm(detector, initial_types=[("input", FloatTensorType([None, 12]))], zipmap=False, target_opset=15)
with open("fraud.onnx", "wb") as f:
    f.write(graph.SerializeToString())

train.to_csv("train.csv", index=False)
rows.to_csv("rows.csv", index=False)
run = ["pynomaly-runtime", "model", "init", "fraud.onnx", "--id", "fraud", "--train", "train.csv", "--contamination", "0.05", "--models", "models"]
subprocess.run(run + ["--output", "probabilities", "--column", "1", "--orientation", "higher_is_anomalous"], check=True)
subprocess.run(["pynomaly-runtime", "predict", "fraud", "rows.csv", "-o", "scored.csv", "--models", "models", "--quiet"], check=True)

served = pd.read_csv("scored.csv")
difference = np.abs(served["score"] - detector.predict_proba(rows)[:, 1]).max()
print(f"{len(rows)} rows, {served['is_anomaly'].sum()} anomalies, largest difference {difference:.1e}")
assert difference < 1e-5
