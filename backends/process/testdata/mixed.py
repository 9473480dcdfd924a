"""Isolation forest on a string column and numbers, fitted when it is loaded."""

import csv

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import OneHotEncoder

import pynomaly_plugin


class Mixed(pynomaly_plugin.Detector):
    def __init__(self, path, features):
        with open(path, encoding="utf-8", newline="") as f:
            rows = list(csv.DictReader(f))
        self.text = [f.name for f in features if f.dtype == "string"]
        self.numbers = [f.name for f in features if f.dtype != "string"]
        self.encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit([[row[n] for n in self.text] for row in rows])
        self.forest = IsolationForest(n_estimators=20, random_state=1).fit(self.matrix({n: [row[n] for row in rows] for n in self.text + self.numbers}))

    def matrix(self, columns):
        text = self.encoder.transform(np.array([columns[n] for n in self.text], dtype=object).T)
        return np.hstack([text, np.array([np.asarray(columns[n], dtype="float64") for n in self.numbers]).T])

    def score(self, batch):
        matrix = self.matrix(batch.columns)
        missing = np.isnan(matrix).any(axis=1)
        if not missing.any():
            return -self.forest.score_samples(matrix)
        scores = np.full(len(batch), np.nan)
        if (~missing).any():
            scores[~missing] = -self.forest.score_samples(matrix[~missing])
        raise pynomaly_plugin.RowErrors({int(i): "a number is missing" for i in np.flatnonzero(missing)}, scores)


def load(setup):
    print("loading", setup.config)  # goes to the log
    return Mixed(setup.path("train.csv"), setup.features)


pynomaly_plugin.serve(load, name="mixed", version="1.0.0", concurrency=2)
