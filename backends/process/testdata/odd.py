"""What a plugin's author may get wrong, by config."""

import os
import sys
import time

import numpy as np

import pynomaly_plugin


print("before serve")
if os.path.exists("import"):
    import no_such_library  # noqa: F401


class Mute:
    def score(self, batch):
        return batch.matrix.sum(axis=1)


class Odd(pynomaly_plugin.Detector):
    def __init__(self, fault):
        self.fault = fault
        self.learned = 0

    def score(self, batch):
        if self.fault == "raises":
            raise ValueError("the matrix is singular")
        if self.fault == "invalid":
            raise pynomaly_plugin.InvalidRows("too few rows")
        if self.fault == "trace":
            raise pynomaly_plugin.InvalidRows(f"trace {sorted(batch.trace.items())}")
        if self.fault == "short":
            return [1.0]
        if self.fault == "slow":
            time.sleep(0.6)
        if self.fault == "exits":
            os._exit(4)
        if self.fault == "stateful":
            return np.full(len(batch), float(self.learned))
        return batch.matrix.sum(axis=1)

    def explain(self, batch):
        return np.hstack([np.zeros((len(batch), 1)), batch.matrix])

    def learn(self, batch):
        self.learned += len(batch)

    def save(self):
        return str(self.learned).encode()

    def load(self, state):
        self.learned = int(state)


def load(setup):
    fault = setup.config.get("fault", "")
    if fault == "load":
        raise RuntimeError("model.joblib was written by another version")
    if fault == "none":
        return object()
    if fault == "explain":
        return Mute()
    print("to the log", file=sys.stderr)
    return Odd(fault)


stateful = os.path.exists("stateful")
pynomaly_plugin.serve(load, name="odd", version="1.0.0", dtype="float64", stateful=stateful, explains=True, learns=True)
