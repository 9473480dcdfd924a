"""Reference scores of river's HalfSpaceTrees, together with the trees and rows behind them.

Usage:   python half_space_trees.py [OUTPUT_FOLDER]      (default: current folder)
Needs:   river 0.26.x, numpy.  Deterministic: the same versions write the same bytes.

Writes one file half_space_trees_NAME.json per entry of CONFIGS:

  river, python, numpy   version strings
  n_trees, height, window_size, seed, padding    configuration (padding is fixed inside river)
  features   feature names, in river's (sorted) order; "feature" and row columns index this list
  limits     [low, high] per feature, in the order of "features"
  trees      per tree {"feature": [...], "threshold": [...]}, one entry per inner node in heap
             order (root 0, children of i: 2i+1 = "value < threshold", 2i+2 = otherwise);
             2**height - 1 inner nodes, the 2**height leaves follow and carry no split
  rows       one list per row, in stream order; null = the feature is missing from that row
  scores     score_one(row), taken before learn_one(row), one per row

Floats are written in their shortest form that reads back to the same double.  The rows hold
two clusters that drift, 3 % outliers (also beyond the limits), and, in every 10th row, a value
that equals the threshold of a node the row passes (so that "<" differs from "<=").
"""
import json
import pathlib
import platform
import sys

import numpy as np
import river
from river.anomaly import HalfSpaceTrees

ROWS, NAMES, PADDING = 1200, ["f0", "f1", "f2", "f3"], 0.15
UNIT = {n: (0.0, 1.0) for n in NAMES}
WIDE = {"f0": (0.0, 1.0), "f1": (-2.0, 1.5), "f2": (10.0, 12.0), "f3": (-0.125, 0.125)}
CONFIGS = {
    # name: (river arguments, limits, share of missing values)
    "small": (dict(n_trees=10, height=5, window_size=64, seed=7), UNIT, 0.0),
    "large": (dict(n_trees=25, height=8, window_size=250, seed=11), WIDE, 0.0),
    # a window divisible by 10: a mass of exactly 0.1 * window must not stop the descent
    "missing": (dict(n_trees=8, height=6, window_size=70, seed=13), UNIT, 0.2),
}


def make_rows(limits, missing, seed):
    """Rows as dicts: drifting two-cluster mixture on the unit cube, stretched to the limits."""
    rng = np.random.default_rng(seed)
    low = np.array([limits[n][0] for n in NAMES])
    width = np.array([limits[n][1] for n in NAMES]) - low
    centres = np.array([[0.30, 0.35, 0.60, 0.50], [0.70, 0.60, 0.40, 0.55]])
    drift = np.array([0.25, -0.20, 0.15, 0.00])
    rows = []
    for k in range(ROWS):
        if rng.random() < 0.03:
            unit = rng.uniform(-0.4, 1.4, len(NAMES))
        else:
            unit = rng.normal(centres[int(rng.random() < 0.3)] + drift * k / ROWS, 0.06)
        absent = rng.random(len(NAMES)) < missing
        if missing and k % 200 == 150:
            absent[:] = True  # a row without any feature
        if k == 0:
            absent[:] = False  # river builds its trees from the features of the first row only
        values = (low + width * unit).round(6).tolist()
        rows.append({n: v for n, v, a in zip(NAMES, values, absent) if not a})
    return rows


def put_on_thresholds(rows, model, seed):
    """Move one value of every 10th row exactly onto the threshold of a node on its path."""
    rng = np.random.default_rng(seed)
    for row in rows[5::10]:
        node = model.trees[rng.integers(len(model.trees))]
        for _ in range(rng.integers(model.height)):
            node = node.next(row)
        if node.feature in row:
            row[node.feature] = node.threshold


def heap_order(root, height):
    """Feature index and threshold of every inner node, level by level."""
    feature, threshold, level = [], [], [root]
    for _ in range(height):
        feature += [NAMES.index(node.feature) for node in level]
        threshold += [node.threshold for node in level]
        level = [child for node in level for child in node.children]
    return {"feature": feature, "threshold": threshold}


def run(args, limits, missing):
    rows = make_rows(limits, missing, args["seed"])
    probe = HalfSpaceTrees(limits=limits, **args)  # same seed and features: same trees
    probe.learn_one(rows[0])
    put_on_thresholds(rows, probe, args["seed"] + 1)
    model, scores = HalfSpaceTrees(limits=limits, **args), []
    for row in rows:
        scores.append(float(model.score_one(row)))
        model.learn_one(row)
    trees = [heap_order(t, args["height"]) for t in model.trees]
    assert trees == [heap_order(t, args["height"]) for t in probe.trees]
    return {
        "river": river.__version__, "python": platform.python_version(),
        "numpy": np.__version__, **args, "padding": PADDING, "features": NAMES,
        "limits": [limits[n] for n in NAMES], "trees": trees,
        "rows": [[row.get(n) for n in NAMES] for row in rows], "scores": scores,
    }


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name, config in CONFIGS.items():
        text = json.dumps(run(*config), separators=(",", ":"), allow_nan=False)
        (folder / f"half_space_trees_{name}.json").write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
