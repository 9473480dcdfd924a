#!/usr/bin/env python3
"""Makes a model directory from an ECOD module and one of the reference data sets.

usage: reference.py DATA MODULE DIRECTORY

DATA is pima, cardio, thyroid or edge. All reference rows become golden rows, with a
tolerance of 1e-9. The script prints the model's directory. It needs only Python's
standard library.
"""
import csv
import hashlib
import json
import pathlib
import shutil
import struct
import sys


def main():
    data, module, directory = sys.argv[1:]
    root = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "reference"
    reference = json.loads((root / f"ecod-{data}.json").read_text())

    def rows(name):
        with open(root / reference[name], newline="") as file:
            header, *lines = csv.reader(file)
        return header, [[float(v) for v in line] for line in lines]

    header, train = rows("train")
    _, test = rows("test")
    model = pathlib.Path(directory) / data / "1.0.0"
    shutil.rmtree(model, ignore_errors=True)
    model.mkdir(parents=True)
    columns = b"".join(struct.pack("<d", row[j]) for j in range(len(header)) for row in train)
    (model / "train.f64").write_bytes(columns)
    shutil.copyfile(module, model / "detector.wasm")
    with open(model / "golden.ndjson", "w") as file:
        for row, want in zip(test, reference["rows"]):
            file.write(json.dumps({"data": dict(zip(header, row)), "score": want["score"]}) + "\n")
    features = "".join(f"  - {{name: {name}, dtype: float64}}\n" for name in header)
    (model / "model.yaml").write_text(
        f"apiVersion: pynomaly.io/v1\nkind: Model\nid: {data}\nversion: 1.0.0\nbackend: wasm\nartifact: detector.wasm\n"
        f"files: {{train.f64: sha256:{hashlib.sha256(columns).hexdigest()}}}\nfeatures:\n{features}"
        "explanation: {method: native}\ngolden: {rows: golden.ndjson, tolerance: 1.0e-9}\n")
    print(model)


main()
