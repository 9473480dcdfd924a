"""The reference detectors of the project, and their scores by PyOD and numpy."""
import csv
import io
import subprocess
import warnings

import numpy as np

import host as hosts

NAMES = ("ecod", "copod", "hbos", "hbos, compat: pyod")


def quietly(call):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return call()


def of_pyod(name, train):
    """Returns a function that returns PyOD's score of one row beside only the training rows."""
    from pyod.models.copod import COPOD
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS

    fitted = quietly(lambda: {"ecod": ECOD, "copod": COPOD, "hbos": HBOS}[name]().fit(train))
    return lambda row: float(quietly(lambda: fitted.decision_function(np.array([row], np.float64)))[0])


def histograms(train):
    """Returns HBOS's score function by its definition: numpy.histogram's bins decide where a value belongs."""
    columns = [np.histogram(column, bins=10, density=True) for column in train.T]

    def raw(row):
        total = 0.0
        for x, (density, edges) in zip(row, columns):
            terms = -np.log2(density + 0.1)
            at = min(max(int(np.searchsorted(edges, x, "right")) - 1, 0), len(terms) - 1)
            beyond = max((edges[0] - x) / (edges[1] - edges[0]), (x - edges[-1]) / (edges[-1] - edges[-2]))
            total += float(terms.max() if beyond > 0.5 else terms[at])
        return total

    return lambda row: quietly(lambda: raw(row))


def fitted(place, name, train):
    """Returns the files that `model fit` makes of training rows."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([f"c{j}" for j in range(train.shape[1])])
    writer.writerows([[repr(float(v)) for v in row] for row in train])
    data = place.work / "train.csv"
    data.write_text(out.getvalue())
    folder = place.fits / str(len(list(place.fits.iterdir())))
    command = [str(place.binary), "model", "fit", name, "--data", str(data), "--id", "m", "--models", str(folder), "--state-dir", str(place.state), "--config", str(place.config)]
    for _ in range(3):  # the command also tries the model, which can time out on a slow machine
        done = subprocess.run(command, capture_output=True, timeout=hosts.HANGS)
        if done.returncode == 0:
            break
    if done.returncode != 0:
        raise RuntimeError(f"model fit {name}: {done.stderr.decode(errors='replace')[-600:]}")
    known = {"hbos": "histograms.json", "ecod": "train.f64", "copod": "train.f64"}[name]
    return {known: (folder / "m" / "1.0.0" / known).read_bytes()}
