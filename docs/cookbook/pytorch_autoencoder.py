"""A PyTorch module that scales, rebuilds and scores rows by itself."""

import subprocess

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_breast_cancer

data = load_breast_cancer(as_frame=True)
values = data.data.to_numpy(dtype="float32")
benign = data.target.to_numpy() == 1
train, rows = values[benign][:300], np.concatenate([values[benign][300:], values[~benign]])


class Detector(torch.nn.Module):
    """What the graph has to hold: the scaling, the network, and the score of a row."""

    def __init__(self, rows):
        super().__init__()
        self.register_buffer("mean", rows.mean(dim=0))
        self.register_buffer("deviation", rows.std(dim=0))
        n = rows.shape[1]
        self.network = torch.nn.Sequential(torch.nn.Linear(n, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4), torch.nn.Tanh(), torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, n))

    def forward(self, x):
        scaled = (x - self.mean) / self.deviation
        return ((self.network(scaled) - scaled) ** 2).mean(dim=1)


torch.manual_seed(0)
detector = Detector(torch.from_numpy(train))
optimizer = torch.optim.Adam(detector.parameters(), lr=0.01)
for _ in range(300):
    optimizer.zero_grad()
    detector(torch.from_numpy(train)).mean().backward()
    optimizer.step()
detector.eval()

# The number of rows must be free, and the output needs a name.
torch.onnx.export(
    detector, (torch.from_numpy(train[:2]),), "cells.onnx", input_names=["input"], output_names=["anomaly_score"],
    dynamic_shapes=({0: torch.export.Dim("rows")},), opset_version=18, external_data=False, dynamo=True,
)

names = [name.replace(" ", "_") for name in data.feature_names]
pd.DataFrame(train, columns=names).to_csv("train.csv", index=False)
pd.DataFrame(rows, columns=names).to_csv("rows.csv", index=False)
run = ["pynomaly-runtime", "model", "init", "cells.onnx", "--id", "cells", "--train", "train.csv", "--contamination", "0.05", "--models", "models"]
subprocess.run(run + ["--orientation", "higher_is_anomalous"], check=True)
subprocess.run(["pynomaly-runtime", "predict", "cells", "rows.csv", "-o", "scored.csv", "--models", "models", "--quiet"], check=True)

served = pd.read_csv("scored.csv")
with torch.no_grad():
    own = detector(torch.from_numpy(rows)).numpy()
difference = (np.abs(served["score"] - own) / own).max()
print(f"{len(rows)} rows, {served['is_anomaly'].sum()} anomalies, largest relative difference {difference:.1e}")
assert difference < 1e-5
