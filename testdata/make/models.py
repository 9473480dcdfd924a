"""Turns cases (a model, its rows and the scores expected of it) into model directories.

usage: models.py CASES_DIR TESTDATA_DIR

Writes TESTDATA_DIR/models/<case>/1.0.0, which the README and the tests serve, and
TESTDATA_DIR/cases/<case> with the rows and expected answers that the tests compare with.
The script needs only Python's standard library.
"""
import csv
import hashlib
import json
import pathlib
import shutil
import sys

GOLDEN_ROWS = 8


def digest(path):
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def bins(entry):
    return "{" + ", ".join(f"{key}: {json.dumps(value)}" for key, value in entry.items()) + "}"


def typed_rows(case, facts):
    with open(case / "input.csv", newline="") as file:
        header, *rows = csv.reader(file)
    parse = {"string": str, "int64": int}
    types = [parse.get(f["dtype"], float) for f in facts["features"]]
    return [dict(zip(header, (convert(cell) for convert, cell in zip(types, row)))) for row in rows]


def manifest(name, facts, expected, model, scores):
    explain = "exact" if len(facts["features"]) <= 10 else "permutation"
    lines = [
        "# yaml-language-server: $schema=../../../../manifest/model.schema.json",
        "apiVersion: pynomaly.io/v1",
        "kind: Model",
        f"id: {name}",
        "version: 1.0.0",
        f"description: {json.dumps('The ' + facts['data']['name'] + ' data of ' + facts['data']['source'])}",
        f"algorithm: {json.dumps(facts['detector'])}",
        "backend: onnx",
        "artifact: model.onnx",
        f"digest: {digest(model)}",
        f"files: {{train_scores.f64: '{digest(scores)}'}}",
        "features:",
        *(f"  - {{name: {f['name']}, dtype: {f['dtype']}}}" for f in facts["features"]),
        *([f"input: {facts['inputs'][0]['name']}"] if facts["layout"] == "tensor" else []),
        f"output: {{name: {facts['output']}, orientation: "
        + ("higher_is_normal" if facts["orientation"] == "negative" else "higher_is_anomalous") + "}",
        f"threshold: {facts['threshold']!r}",
        "calibration: {method: ecdf, scores: train_scores.f64}",
        f"confidence: {{contamination: {facts['gamma']!r}, training_size: {facts['n']}}}",
        "explanation:",
        f"  method: {explain}",
        "  reference: "
        + "{" + ", ".join(f"{f['name']}: {json.dumps(v)}" for f, v in zip(facts["features"], facts["reference_row"])) + "}",
        "drift: {bins: drift.yaml}",
        f"golden: {{rows: golden.ndjson, tolerance: {max(expected['tolerance'], 1e-6):.2g}}}",
        "metadata:",
        f"  libraries: {json.dumps({k: v for k, v in facts['versions'].items()})}",
        f"  licence: {json.dumps(facts['data']['licence'])}",
    ]
    return "\n".join(lines) + "\n"


def write(case, testdata):
    facts, expected = (json.loads((case / f"{part}.json").read_text()) for part in ("facts", "expected"))
    name = facts["name"]
    served = testdata / "models" / name / "1.0.0"
    served.mkdir(parents=True, exist_ok=True)
    for part in ("model.onnx", "train_scores.f64"):
        shutil.copyfile(case / part, served / part)
    drift = facts["drift"]
    (served / "drift.yaml").write_text(
        f"score: {bins(drift['score'])}\nfeatures:\n"
        + "".join(f"  {feature}: {bins(entry)}\n" for feature, entry in drift["features"].items()))
    rows = typed_rows(case, facts)
    with open(served / "golden.ndjson", "w") as file:
        for at in range(0, len(rows), max(1, len(rows) // GOLDEN_ROWS)):
            file.write(json.dumps({"data": rows[at], "score": expected["scores"][at]["oriented"]}) + "\n")
    (served / "model.yaml").write_text(
        manifest(name, facts, expected, served / "model.onnx", served / "train_scores.f64"))
    kept = testdata / "cases" / name
    kept.mkdir(parents=True, exist_ok=True)
    for part in ("input.csv", "expected.json", "facts.json"):
        shutil.copyfile(case / part, kept / part)


def main():
    cases, testdata = map(pathlib.Path, sys.argv[1:])
    for facts in sorted(cases.glob("*/facts.json")):
        write(facts.parent, testdata)


main()
