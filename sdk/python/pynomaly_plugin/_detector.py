"""What a plugin's author writes."""

import dataclasses
import pathlib
from typing import Any, Dict, List

import numpy as np

from ._batch import Feature, RowErrors


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a detector is given before its first rows.

    config is the config section of the manifest; directory holds the files of the
    model, read-only; files are their names, the artifact first.
    """

    config: Dict[str, Any]
    directory: str
    files: List[str]
    features: List[Feature]

    def path(self, name):
        """The path of one of the model's files."""
        return str(pathlib.Path(self.directory) / name)


class Detector:
    """A detector: score is all that it needs.

    The other methods are found if they are there: explain(batch) gives rows x (1 +
    features) numbers, a base value first; learn(batch) takes rows into the state;
    save() and load(state) give and take the state, as bytes; close() ends it.
    """

    def score(self, batch):
        """One raw score a row, as an array or a list. NaN: the row cannot be scored."""
        raise NotImplementedError


class _Sklearn(Detector):
    def __init__(self, model, method):
        self.score_rows = getattr(model, method)

    def score(self, batch):
        try:
            return self.score_rows(batch.array())
        except ValueError:
            # Most estimators take no NaN and no infinity: that is those rows' fault only.
            if batch.matrix is None or batch.matrix.dtype.kind != "f":
                raise
            good = np.isfinite(batch.matrix).all(axis=1)
            if good.all():
                raise
        scores = np.full(len(batch), np.nan)
        if good.any():
            scores[good] = self.score_rows(batch.matrix[good])
        raise RowErrors({int(i): "has a missing or infinite value, which the model does not take" for i in np.flatnonzero(~good)}, scores)


def sklearn(model, method=None):
    """A detector of a fitted scikit-learn or PyOD object.

    The method is decision_function, else score_samples. PyOD's decision_function is
    higher for anomalies; scikit-learn's is higher for normal rows, which the manifest
    says with output: {orientation: higher_is_normal}.
    """
    for name in [method] if method else ["decision_function", "score_samples"]:
        if callable(getattr(model, name, None)):
            return _Sklearn(model, name)
    raise TypeError(f"{type(model).__name__} has no {method or 'decision_function or score_samples'}")
