"""ECOD: a row's score is the sum over the features of how far out its value lies in the
tails of the training values (Li et al. 2022).

The training values are the model's file train.f64: little-endian float64, column after
column, rows in training order.
"""

import numpy as np

import pynomaly_plugin


class ECOD(pynomaly_plugin.Detector):
    def __init__(self, train):
        """train has one row a feature."""
        if train.ndim != 2 or train.shape[1] < 2 or not np.isfinite(train).all():
            raise ValueError("at least 2 finite training rows are needed")
        self.train = train
        self.sorted = np.sort(train, axis=1)

    def terms(self, rows):
        """Each feature's part of each row's score."""
        n = self.train.shape[1]
        out = np.empty(rows.shape)
        for j, column in enumerate(self.sorted):
            x = rows[:, j]
            below, up_to = np.searchsorted(column, x, "left"), np.searchsorted(column, x, "right")
            left, right = -np.log((up_to + 1) / (n + 1)), -np.log((n - below + 1) / (n + 1))
            # The left tail weighs where the skewness is negative, the right one where it is
            # positive, both where it is zero; the larger of that and either tail counts.
            out[:, j] = np.where(self.symmetric(j, x), left + right, np.maximum(left, right))
            out[np.isnan(x), j] = np.nan
        return out

    def symmetric(self, j, x):
        """Whether the skewness of the training values and x is zero."""
        values = np.column_stack([np.broadcast_to(self.train[j], (len(x), self.train.shape[1])), x])
        with np.errstate(invalid="ignore"):
            off = values - values.mean(axis=1, keepdims=True)
            m2, m3 = (off**2).mean(axis=1), (off**3).mean(axis=1)
            flat = m2 <= (np.finfo(float).resolution * values.mean(axis=1)) ** 2
        return flat | (m3 == 0)

    def score(self, batch):
        return self.terms(batch.matrix).sum(axis=1)

    def explain(self, batch):
        terms = self.terms(batch.matrix)
        return np.column_stack([np.zeros(len(terms)), terms])  # the base value comes first


def load(setup):
    values = np.fromfile(setup.path("train.f64"), dtype="<f8")
    if len(values) % len(setup.features):
        raise ValueError(f"train.f64 has {len(values)} values, which is no multiple of {len(setup.features)} features")
    return ECOD(values.reshape(len(setup.features), -1))


if __name__ == "__main__":
    pynomaly_plugin.serve(load, name="ecod", version="1.0.0", algorithm="ECOD", dtype="float64", explains=True)
