"""PyOD's isolation forest, as a graph."""

import subprocess

import numpy as np
import pandas as pd
from pyod.models.iforest import IForest
from pyod.utils.data import generate_data
from skl2onnx import to_onnx

train, rows, _, _ = generate_data(n_train=1000, n_test=300, n_features=5, contamination=0.1, random_state=0)
train, rows = train.astype("float32"), rows.astype("float32")
detector = IForest(contamination=0.1, random_state=0).fit(train)

# PyOD wraps a detector of scikit-learn, which skl2onnx knows. The graph has its outputs
# label and scores; the host knows that higher scores are normal there and negates them, as PyOD does.
graph = to_onnx(detector.detector_, train[:1], target_opset={"": 17, "ai.onnx.ml": 3})
with open("iforest.onnx", "wb") as f:
    f.write(graph.SerializeToString())

names = [f"x{i}" for i in range(train.shape[1])]
pd.DataFrame(train, columns=names).to_csv("train.csv", index=False)
pd.DataFrame(rows, columns=names).to_csv("rows.csv", index=False)
subprocess.run(["pynomaly-runtime", "model", "init", "iforest.onnx", "--id", "iforest", "--train", "train.csv", "--contamination", "0.1", "--models", "models"], check=True)
subprocess.run(["pynomaly-runtime", "predict", "iforest", "rows.csv", "-o", "scored.csv", "--models", "models", "--quiet"], check=True)

served = pd.read_csv("scored.csv")
difference = np.abs(served["score"] - detector.decision_function(rows)).max()
same = (served["is_anomaly"] == detector.predict(rows).astype(bool)).mean()
print(f"{len(rows)} rows, the same verdict on {same:.0%}, largest difference {difference:.1e}")
assert difference < 1e-5 and same > 0.99
