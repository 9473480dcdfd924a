"""Anomaly detectors in Python as process plugins of pynomaly-runtime.

A plugin is a script that ends with serve():

    import joblib
    import pynomaly_plugin

    def load(setup):
        return pynomaly_plugin.sklearn(joblib.load(setup.path("model.joblib")))

    pynomaly_plugin.serve(load, name="knn", version="1.0.0", algorithm="KNN", dtype="float64")

The host starts the script, sends it rows, and restarts it when it dies. It logs what
the script and its libraries print, to standard output or to standard error.
"""

from . import _output  # noqa: F401, I001  (first: the imports below may print)
from ._batch import Batch, Feature, InvalidRows, RowErrors, Unavailable
from ._detector import Detector, Setup, sklearn
from ._serve import serve

__all__ = ["Batch", "Detector", "Feature", "InvalidRows", "RowErrors", "Setup", "Unavailable", "serve", "sklearn"]
