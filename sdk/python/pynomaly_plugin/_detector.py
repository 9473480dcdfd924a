"""The interface between a plugin's detector and this package."""

import dataclasses
import pathlib
from typing import Any, Dict, List

import numpy as np

from ._batch import Feature, RowErrors


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a detector receives before its first rows.

    config is the config section of the manifest. directory holds the model's files and
    is read-only. files are the names of those files, the artifact first.
    """

    config: Dict[str, Any]
    directory: str
    files: List[str]
    features: List[Feature]

    def path(self, name):
        """Return the path of one of the model's files."""
        return str(pathlib.Path(self.directory) / name)


class Detector:
    """A detector. Only score is required.

    These methods are optional: explain(batch) returns rows x (1 + features) numbers,
    each row's base value first; learn(batch) adds rows to the state; save() returns
    the state as bytes and load(state) replaces it; close() releases the detector.
    """

    def score(self, batch):
        """Return one raw score per row, as an array or a list. NaN: the row cannot be scored."""
        raise NotImplementedError


class _Sklearn(Detector):
    def __init__(self, model, method):
        self.score_rows = getattr(model, method)

    def score(self, batch):
        try:
            return self.score_rows(batch.array())
        except ValueError:
            # Most estimators take no NaN and no infinity: fail only the rows
            # that have one.
            if batch.matrix is None or batch.matrix.dtype.kind != "f":
                raise
            good = np.isfinite(batch.matrix).all(axis=1)
            if good.all():
                raise
        scores = np.full(len(batch), np.nan)
        if good.any():
            scores[good] = self.score_rows(batch.matrix[good])
        raise RowErrors({int(i): "has a missing or infinite value, which the model does not accept" for i in np.flatnonzero(~good)}, scores)


def sklearn(model, method=None):
    """Return a detector that scores with a fitted scikit-learn or PyOD object.

    It calls decision_function or, if there is none, score_samples. PyOD's
    decision_function is higher for anomalies. scikit-learn's is higher for normal rows:
    the manifest then needs output: {orientation: higher_is_normal}.
    """
    for name in [method] if method else ["decision_function", "score_samples"]:
        if callable(getattr(model, name, None)):
            return _Sklearn(model, name)
    raise TypeError(f"{type(model).__name__} has no {method or 'decision_function or score_samples'}")
