"""An XGBoost classifier, which takes rows with gaps as they are."""

import subprocess

import numpy as np
import pandas as pd
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.datasets import make_classification
from xgboost import XGBClassifier

values, fault = make_classification(4000, 8, n_informative=5, weights=[0.97], random_state=1)
values[np.random.default_rng(1).random(values.shape) < 0.05] = np.nan
names = [f"f{i}" for i in range(8)]  # onnxmltools wants these names
data = pd.DataFrame(values.astype("float32"), columns=names)
train, rows = data[:3000], data[3000:]
detector = XGBClassifier(n_estimators=80, max_depth=4, random_state=0).fit(train, fault[:3000])

graph = convert_xgboost(detector, initial_types=[("input", FloatTensorType([None, 8]))], target_opset=15)
with open("faults.onnx", "wb") as f:
    f.write(graph.SerializeToString())

train.to_csv("train.csv", index=False)
rows.to_csv("rows.csv", index=False)
run = ["pynomaly-runtime", "model", "init", "faults.onnx", "--id", "faults", "--train", "train.csv", "--contamination", "0.03", "--models", "models"]
subprocess.run(run + ["--output", "probabilities", "--column", "1", "--orientation", "higher_is_anomalous", "--missing", "nan"], check=True)
subprocess.run(["pynomaly-runtime", "predict", "faults", "rows.csv", "-o", "scored.csv", "--models", "models", "--quiet"], check=True)

served = pd.read_csv("scored.csv")
difference = np.abs(served["score"] - detector.predict_proba(rows)[:, 1]).max()
print(f"{len(rows)} rows, {served['is_anomaly'].sum()} anomalies, largest difference {difference:.1e}")
assert difference < 1e-5
