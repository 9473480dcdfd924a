"""Compares the detector of the Python project template with PyOD's scores and terms."""

import csv
import importlib.util
import json
import pathlib

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
REFERENCE = ROOT / "testdata" / "reference"

spec = importlib.util.spec_from_file_location("detector", ROOT / "sdk" / "guest" / "templates" / "python" / "detector.py")
detector = importlib.util.module_from_spec(spec)
spec.loader.exec_module(detector)


def table(name):
    with open(REFERENCE / name, newline="", encoding="utf-8") as f:
        return np.array(list(csv.reader(f))[1:], dtype=float)


@pytest.mark.parametrize("data", ["pima", "cardio", "thyroid", "edge"])
def test_reference(data):
    reference = json.loads((REFERENCE / f"ecod-{data}.json").read_text())
    rows = table(reference["test"])
    terms = detector.ECOD(table(reference["train"]).T).terms(rows)
    assert len(rows) == len(reference["rows"]) > 0
    for i, want in enumerate(reference["rows"]):
        np.testing.assert_allclose(terms[i].sum(), want["score"], rtol=1e-9)
        if "terms" in want:
            np.testing.assert_allclose(terms[i], want["terms"], rtol=1e-9, atol=1e-12)
