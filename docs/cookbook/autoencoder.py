"""An autoencoder: how badly it rebuilds a row is the score."""

import subprocess

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPRegressor

digits = load_digits()
pixels = (digits.data / 16).astype("float32")
names = [f"p{i:02}" for i in range(pixels.shape[1])]
normal = digits.target != 8  # it learns all digits but the 8
train, rows = pixels[normal][:1000], np.concatenate([pixels[normal][1000:], pixels[~normal]])
detector = MLPRegressor(hidden_layer_sizes=(32, 8, 32), max_iter=300, random_state=0).fit(train, train)

graph = to_onnx(detector, train[:1], target_opset={"": 17, "ai.onnx.ml": 3})
# skl2onnx ends the graph by putting all values into one column: leave that out.
last = graph.graph.node.pop()
graph.graph.node[-1].output[0] = last.output[0]
graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(names)
with open("digits.onnx", "wb") as f:
    f.write(graph.SerializeToString())

pd.DataFrame(train, columns=names).to_csv("train.csv", index=False)
pd.DataFrame(rows, columns=names).to_csv("rows.csv", index=False)
run = ["pynomaly-runtime", "model", "init", "digits.onnx", "--id", "digits", "--train", "train.csv", "--contamination", "0.05", "--models", "models"]
subprocess.run(run + ["--reconstruction", "mse"], check=True)
subprocess.run(["pynomaly-runtime", "predict", "digits", "rows.csv", "-o", "scored.csv", "--models", "models", "--quiet"], check=True)

served = pd.read_csv("scored.csv")
difference = np.abs(served["score"] - ((detector.predict(rows) - rows) ** 2).mean(axis=1)).max()
print(f"{len(rows)} rows, {served['is_anomaly'].sum()} anomalies, largest difference {difference:.1e}")
assert difference < 1e-5
