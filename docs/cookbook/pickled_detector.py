"""A pickled detector that no graph can express, as a process plugin."""

import hashlib
import json
import os
import pathlib
import pickle
import subprocess

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler

wine = load_wine(as_frame=True)
train, rows = wine.data[:130], wine.data[100:]
detector = make_pipeline(RobustScaler(), LocalOutlierFactor(metric="canberra", contamination=0.05, novelty=True)).fit(train.to_numpy())

# A model is a directory: the program, the pickle, rows with the scores that the host
# must find again before it serves, and model.yaml (JSON is YAML as well).
model = pathlib.Path("models/wine/1.0.0")
model.mkdir(parents=True)
(model / "detector.py").write_text('''import pickle
import pynomaly_plugin

def load(setup):
    with open(setup.path("model.pkl"), "rb") as f:
        return pynomaly_plugin.sklearn(pickle.load(f))

pynomaly_plugin.serve(load, name="wine", version="1.0.0", algorithm="LOF", dtype="float64")
''')
(model / "model.pkl").write_bytes(pickle.dumps(detector))
oriented = -detector.decision_function(train.to_numpy())  # higher is more anomalous
np.sort(oriented).astype("<f8").tofile(model / "train_scores.f64")
golden = [{"data": row, "score": score} for row, score in zip(train[:16].to_dict("records"), oriented)]
(model / "golden.ndjson").write_text("".join(json.dumps(g) + "\n" for g in golden))
(model / "model.yaml").write_text(json.dumps({
    "apiVersion": "pynomaly.io/v1", "kind": "Model", "id": "wine", "version": "1.0.0", "algorithm": "LOF",
    "backend": "process", "artifact": "detector.py", "command": ["python3", "detector.py"],
    "files": {"model.pkl": "sha256:" + hashlib.sha256((model / "model.pkl").read_bytes()).hexdigest()},
    "features": [{"name": name, "dtype": "float64"} for name in train.columns],
    "output": {"orientation": "higher_is_normal"}, "threshold": 0.0,
    "calibration": {"method": "ecdf", "scores": "train_scores.f64"},
    "golden": {"rows": "golden.ndjson", "tolerance": 1e-9}, "limits": {"load_timeout": "5m", "memory": "1GiB"},
}, indent=1))

# A pickle runs code when it is loaded, so the host runs only what its configuration
# allows. A host that runs as root also wants to know which user runs it.
user = "root" if os.getuid() == 0 else ""
pathlib.Path("plugins.yaml").write_text(json.dumps({"backends": {"process": {"enabled": True, "user": user, "allow": [{"path": "models"}]}}}))
rows.to_csv("rows.csv", index=False)
subprocess.run(["pynomaly-runtime", "predict", "wine", "rows.csv", "-o", "scored.csv", "--models", "models", "--config", "plugins.yaml", "--quiet"], check=True)

served = pd.read_csv("scored.csv")
difference = np.abs(served["score"] + detector.decision_function(rows.to_numpy())).max()
print(f"{len(rows)} rows, {served['is_anomaly'].sum()} anomalies, largest difference {difference:.1e}")
assert difference < 1e-9
