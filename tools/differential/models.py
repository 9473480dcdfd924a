"""Random models: a directory that a host serves, and a reference for its scores."""
import hashlib
import json
import math
import shutil
import struct

import numpy as np

import detectors
import expect
import graphs
import reckon
import values

NAMES = ["f0", "a b", "größe", "東京", 'q"uote', "back\\slash", "semi;colon", "x.y", "-", "Data", "data", "id", "value", "a,b", "null", "0", "🙂", "tab\tname"]
SAMPLES = ["breast-cancer-mixed", "cardio-iforest-fused", "mammography-gmm", "pima-lof", "thyroid-autoencoder", "thyroid-ocsvm"]
GRAPHS = {
    "identity": (graphs.identity, ("float32", "float64", "int64")), "weighted": (graphs.weighted, ("float32", "float64", "int64")),
    "reduced": (graphs.reduced, ("float32", "float64")), "curved": (graphs.curved, ("float32", "float64")), "forest": (graphs.forest, ("float32",)),
    "network": (graphs.network, ("float32",)),
}
# Kinds whose last bits depend on how many rows share a call of the library. The host chooses the
# numbers of rows so that a row has one score, which may differ from the row's score alone.
COMPANY = ("reduced", "curved", "network", "sample")
KINDS = [*GRAPHS, "columns", "sample", "module", "program"]


class Model:
    """A model: its features, manifest and judge, and raw, which returns the score of one typed row. If
    exact is set, its scores must equal the reference's to the bit."""

    def __init__(self, kind, name):
        self.kind, self.id, self.name = kind, f"{name}-{kind}", f"{name}-{kind}"
        self.files, self.exact, self.tolerance = {}, True, 0.0
        self.manifest = {"apiVersion": "pynomaly.io/v1", "kind": "Model", "id": self.id, "version": "1.0.0"}
        self.manifest["limits"] = {"timeout": "5m", "load_timeout": "10m"}  # for slow machines


def make(rng, kind, name, place):
    model = Model(kind, name)
    if kind in GRAPHS:
        graph(rng, model)
    elif kind == "columns":
        mixed(rng, model)
    elif kind == "sample":
        sample(rng, model, place)
    else:
        plugin(rng, model, place)
    if "unknown_features" not in model.manifest and rng.random() < 0.4:
        model.manifest["unknown_features"] = rng.choice(["ignore", "error"])
    model.ignores = model.manifest.get("unknown_features") == "ignore"
    judged(rng, model)
    return model


def features_of(rng, dtypes, names):
    out = []
    for name, dtype in zip(names, dtypes):
        rule = "error"
        if rng.random() < 0.4:
            choices = {"float32": ["nan", 0.0, -1.5, 1e-3], "float64": ["nan", -0.0, 0.1, 1e300], "int64": [0, -7, 2**62], "bool": [True, False], "string": ["a", "none", "東京"]}
            rule = rng.choice(choices[dtype])
        out.append({"name": name, "dtype": dtype, "missing": rule})
    return out


def graph(rng, model):
    build, dtypes = GRAPHS[model.kind]
    dtype = rng.choice(dtypes)
    width = 1 if model.kind == "identity" else rng.choice([1, 2, 3, 5, 8])
    model.features = features_of(rng, [dtype] * width, rng.sample(NAMES, width))
    blob = build(rng, dtype, width).SerializeToString()
    model.manifest |= {"backend": "onnx", "input": "X"}
    onnx_model(model, blob, None)
    model.exact = model.kind not in COMPANY


def mixed(rng, model):
    width = rng.randint(1, 6)
    dtypes = [rng.choice(["string", "bool", "int64", "float32", "float64"]) for _ in range(width)]
    model.features = features_of(rng, dtypes, rng.sample([n for n in NAMES if n.isascii() and n.isalnum()] + ["größe", "東京", "a b", "x.y"], width))
    model.manifest |= {"backend": "onnx"}
    onnx_model(model, graphs.columns(rng, model.features).SerializeToString(), None)


def onnx_model(model, blob, output):
    model.files["model.onnx"] = blob
    session = graphs.Session(blob, output)
    model.raw = lambda row: session.raw(model.features, row)


def sample(rng, model, place):
    """Takes a sample model, with another manifest."""
    name = rng.choice(SAMPLES)
    model.name = f"{model.id} ({name})"
    case = json.loads((place.testdata / "cases" / name / "facts.json").read_text())
    model.features = [{"name": f["name"], "dtype": f["dtype"], "missing": "error"} for f in case["features"]]
    model.manifest |= {"backend": "onnx", "output": {"name": case["output"], "orientation": "higher_is_normal" if case["orientation"] == "negative" else "higher_is_anomalous"}}
    if case["layout"] == "tensor":
        model.manifest["input"] = case["inputs"][0]["name"]
    onnx_model(model, (place.testdata / "models" / name / "1.0.0" / "model.onnx").read_bytes(), case["output"])
    model.exact, model.tolerance = False, 1e-5
    rows = (place.testdata / "cases" / name / "input.csv").read_text().splitlines()[1:]
    model.usual = [line.split(",") for line in rng.sample(rows, min(40, len(rows)))]


def plugin(rng, model, place):
    """Takes a reference detector, as a module or as a program."""
    name = rng.choice(detectors.NAMES)
    model.name = f"{model.id} ({name})"
    name, compat = name.split(",")[0], "compat" in name
    width, rows = rng.randint(2, 5), rng.randint(20, 120)
    model.features = [{"name": n, "dtype": "float64", "missing": "error"} for n in rng.sample(NAMES, width)]
    whole = rng.random() < 0.5  # whole values lie on the edges of bins
    train = np.array([[float(rng.randint(0, 10)) if whole else round(rng.gauss(0, 3), 1) for _ in range(width)] for _ in range(rows)])
    files = detectors.fitted(place, name, train)
    artifact = place.plugins / (name + (".wasm" if model.kind == "module" else ""))
    if name == "ecod" and model.kind == "module":  # in Go, or in another language
        artifact = rng.choice([artifact, *(place.testdata / "models" / f"ecod-{language}" / "1.0.0" / "detector.wasm" for language in ("c", "rust", "assemblyscript"))])
    model.files |= {**files, artifact.name: artifact}
    model.manifest |= {"backend": "wasm" if model.kind == "module" else "process", "artifact": artifact.name, "files": {k: digest(v) for k, v in files.items()}}
    if compat:
        model.manifest["config"] = {"compat": "pyod"}
    model.raw = detectors.histograms(train) if name == "hbos" and not compat else detectors.of_pyod(name, train)
    model.usual = [[repr(v) for v in row] for row in train.tolist()]
    model.exact, model.tolerance = False, 1e-9


def judged(rng, model):
    """Chooses orientation, threshold, calibration and confidence around scores that the model gives."""
    output = model.manifest.setdefault("output", {"orientation": rng.choice(["higher_is_normal", "higher_is_anomalous"])})
    sign = -1 if output["orientation"] == "higher_is_normal" else 1
    scores = []
    while len(scores) < 8:
        for _ in range(rng.randint(20, 120)):
            row, bad = expect.row(model.features, [usual(rng, model, j) for j in range(len(model.features))])
            score = math.nan if bad else sign * model.raw(row)
            if math.isfinite(score):
                scores.append(score + 0.0)
    scores.sort()
    if rng.random() < 0.85:
        model.manifest["threshold"] = rng.choice([rng.choice(scores), scores[len(scores) * 9 // 10], rng.gauss(0, 1)])
    method = rng.choice(["none", "ecdf", "ecdf_midrank", "linear", "unify"])
    if method.startswith("ecdf") or method != "none" and scores[0] < scores[-1]:
        given = rng.random()
        if not method.startswith("ecdf") and given < 0.4:
            figures = {"min": scores[0], "max": scores[-1]} if method == "linear" else {"mean": scores[len(scores) // 2], "std": max(scores[-1] / 4 - scores[0] / 4, 5e-324)}
            model.manifest["calibration"] = {"method": method, **figures}
            scores = []
        else:
            data = b"".join(struct.pack("<d", s) for s in scores)
            model.files["scores.f64"] = data
            model.manifest["calibration"] = {"method": method, "scores": "scores.f64"}
            model.manifest.setdefault("files", {})["scores.f64"] = digest(data)
            if "threshold" in model.manifest and rng.random() < 0.7:
                model.manifest["confidence"] = {"contamination": rng.choice([0.05, 0.1, 0.25, 0.5, round(rng.uniform(0.01, 0.5), 3)]), "training_size": len(scores)}
    model.judge = reckon.Judge(model.manifest, scores)


def usual(rng, model, j):
    """Returns an ordinary cell of feature j."""
    dtype = model.features[j]["dtype"]
    if hasattr(model, "usual") and rng.random() < 0.9:
        value = rng.choice(model.usual)[j]
        return ("number", value) if dtype in values.NUMERIC else ("text", value)
    return values.good(rng, dtype)


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def write(model, folder):
    """Writes the model below a models directory. The manifest is JSON, which is also YAML."""
    at = folder / model.id / "1.0.0"
    at.mkdir(parents=True)
    for name, data in model.files.items():
        if isinstance(data, bytes):
            (at / name).write_bytes(data)
        else:
            shutil.copy(data, at / name)
    text = {"artifact": "model.onnx", **model.manifest, "features": model.features}
    (at / "model.yaml").write_text(json.dumps(text, ensure_ascii=False, indent=1) + "\n")
