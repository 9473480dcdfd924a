"""Writes what scikit-learn and PyOD say of small data sets, for the detectors that the host fits.

usage: detectors.py OUT_DIR NAME=DIR ...    (needs scikit-learn 1.9.1, pyod 3.6.7, numpy)

DIR holds train.csv, input.csv and labels.csv of the input, as the ADBench sets in testdata were split.
OUT_DIR/NAME.json gets the rows in float32, the scores of each detector (higher is more anomalous; "train": of
each training row among the others) and the AUROC of an isolation forest under 20 seeds.
"""
import json
import pathlib
import sys

import numpy as np
from pyod.models.knn import KNN
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler


def rows(path, step=1):
    return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)[::step].astype(np.float32)


def lof(train, test):
    fitted = LocalOutlierFactor(20, novelty=True).fit(train)
    return {"train": (-fitted.negative_outlier_factor_).tolist(), "scores": (-fitted.score_samples(test)).tolist()}


def knn(train, test, method):
    fitted = KNN(method=method).fit(train)
    return {"train": fitted.decision_scores_.tolist(), "scores": fitted.decision_function(test).tolist()}


def main(out, *sets):
    for name, folder in (s.split("=", 1) for s in sets):
        folder = pathlib.Path(folder)
        train, test = rows(folder / "train.csv"), rows(folder / "input.csv")
        train = train[:: max(1, len(train) // 500)]
        noise, spread = np.random.RandomState(0), train.std(axis=0)
        train, test = ((x + noise.normal(0, 0.01, x.shape) * spread).astype(np.float32) for x in (train, test))
        labels = rows(folder / "labels.csv")[:, 0].astype(int)
        scale = StandardScaler().fit(train.astype(np.float64))
        wide = [x.astype(np.float64) for x in (train, test)]
        scores = {"lof": lof(*wide), "lof, scaled": lof(*map(scale.transform, wide))}
        for method in ("largest", "mean", "median"):
            scores["knn, " + method] = knn(*wide, method)
        areas = []
        for seed in range(20):
            forest = IsolationForest(random_state=seed).fit(train)
            areas.append(roc_auc_score(labels, -forest.score_samples(test)))
        made = {"train": [[float(str(v)) for v in r] for r in train], "rows": [[float(str(v)) for v in r] for r in test],
                "labels": labels.tolist(), "scores": scores, "areas": areas}
        text = json.dumps(made).replace("]], ", "]],\n").replace("}, ", "},\n")
        (pathlib.Path(out) / (name + ".json")).write_text(text + "\n")


main(*sys.argv[1:])
