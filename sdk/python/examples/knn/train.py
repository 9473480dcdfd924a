"""Fits PyOD's KNN to a CSV and writes a model directory that the host serves.

    python train.py train.csv models/pima-knn/1.0.0
"""

import hashlib
import json
import pathlib
import shutil
import sys

import joblib
import numpy as np
from pyod.models.knn import KNN

HERE = pathlib.Path(__file__).parent


def main(source, target):
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    with open(source, encoding="utf-8") as f:
        names = f.readline().strip().split(",")
        rows = np.loadtxt(f, delimiter=",", ndmin=2)
    model = KNN(n_neighbors=5, contamination=0.1).fit(rows)
    joblib.dump(model, target / "model.joblib")
    shutil.copy(HERE / "detector.py", target)
    scores = np.sort(model.decision_scores_)
    scores.astype("<f8").tofile(target / "train_scores.f64")
    golden = model.decision_function(rows[:16])
    with open(target / "golden.ndjson", "w", encoding="utf-8") as f:
        for row, score in zip(rows, golden):
            f.write(json.dumps({"data": row.tolist(), "score": score}) + "\n")
    digests = {name: "sha256:" + hashlib.sha256((target / name).read_bytes()).hexdigest() for name in ["model.joblib"]}
    manifest = {
        "apiVersion": "pynomaly.io/v1", "kind": "Model", "id": target.parent.name, "version": target.name, "algorithm": "KNN",
        "backend": "process", "artifact": "detector.py", "command": ["python3", "detector.py"], "files": digests,
        "features": [{"name": name, "dtype": "float64"} for name in names],
        "threshold": float(model.threshold_), "calibration": {"method": "ecdf", "scores": "train_scores.f64"},
        "golden": {"rows": "golden.ndjson", "tolerance": 1e-9}, "limits": {"memory": "1GiB", "load_timeout": "1m"},
    }
    (target / "model.yaml").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
