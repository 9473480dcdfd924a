"""A scikit-learn pipeline for numbers with gaps and for categories."""

import subprocess

import numpy as np
import pandas as pd
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

random = np.random.default_rng(0)


def payments(n):
    rows = pd.DataFrame({
        "amount": random.lognormal(3, 1, n).astype("float32"),
        "age": random.normal(40, 12, n).astype("float32"),
        "channel": random.choice(["web", "app", "shop"], n, p=[0.6, 0.3, 0.1]),
        "country": random.choice(["DE", "FR", "PL", "ES"], n),
    })
    rows.loc[random.random(n) < 0.1, "age"] = np.nan
    return rows


train, rows = payments(2000), payments(500)
numbers, categories = ["amount", "age"], ["channel", "country"]
detector = make_pipeline(
    ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
    ]),
    IsolationForest(random_state=0),
).fit(train)

# One input for each column, by its name.
inputs = [(c, FloatTensorType([None, 1])) for c in numbers] + [(c, StringTensorType([None, 1])) for c in categories]
graph = convert_sklearn(detector, initial_types=inputs, target_opset={"": 17, "ai.onnx.ml": 3})
with open("payments.onnx", "wb") as f:
    f.write(graph.SerializeToString())

train.to_csv("train.csv", index=False)
rows.to_csv("rows.csv", index=False)
run = ["pynomaly-runtime", "model", "init", "payments.onnx", "--id", "payments", "--train", "train.csv", "--contamination", "0.05", "--models", "models"]
subprocess.run(run + ["--missing", "nan"], check=True)
subprocess.run(["pynomaly-runtime", "predict", "payments", "rows.csv", "-o", "scored.csv", "--models", "models", "--quiet"], check=True)

# The host's scores are higher for anomalies, those of scikit-learn for normal rows.
served = pd.read_csv("scored.csv")
difference = np.abs(served["score"] + detector.decision_function(rows)).max()
print(f"{len(rows)} rows, {served['is_anomaly'].sum()} anomalies, largest difference {difference:.1e}")
assert difference < 1e-5
