import joblib

import pynomaly_plugin


def load(setup):
    return pynomaly_plugin.sklearn(joblib.load(setup.path("model.joblib")))


pynomaly_plugin.serve(load, name="knn", version="1.0.0", algorithm="KNN", dtype="float64")
