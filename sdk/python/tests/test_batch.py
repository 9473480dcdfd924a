"""Tests of decoding and encoding batches."""

import random

import numpy as np
import pytest

from pynomaly_plugin import Feature, RowErrors, _batch, sklearn
from pynomaly_plugin import plugin_pb2 as pb

XY = [Feature("x", "float64"), Feature("y", "float64")]
MIXED = [Feature("s", "string"), Feature("b", "bool"), Feature("i", "int64"), Feature("f", "float32")]


def matrix(rows, cols, dtype=pb.VALUE_TYPE_FLOAT64, parts=()):
    yield pb.ScoreChunk(rows=rows, matrix=pb.Matrix(cols=cols, dtype=dtype))
    for part in parts:
        yield pb.ScoreChunk(data=part)


def mixed(nulls=b""):
    return pb.ScoreChunk(rows=2, columns=[
        pb.Column(dtype=pb.VALUE_TYPE_STRING, strings=["a", "ü"], nulls=nulls),
        pb.Column(dtype=pb.VALUE_TYPE_BOOL, values=b"\x01\x00"),
        pb.Column(dtype=pb.VALUE_TYPE_INT64, values=np.array([1 << 40, -1], "<i8").tobytes()),
        pb.Column(dtype=pb.VALUE_TYPE_FLOAT32, values=np.array([0.5, 2], "<f4").tobytes(), nulls=nulls),
    ])


def test_matrix_in_parts():
    data = np.arange(6, dtype="<f8").tobytes()
    batch = _batch.receive(XY, matrix(3, 2, parts=[data[:20], data[20:]]))
    assert len(batch) == 3 and batch.matrix.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert batch.columns["y"].tolist() == [1, 3, 5]
    with pytest.raises(ValueError):
        batch.matrix[0, 0] = 1


def test_columns():
    batch = _batch.receive(MIXED, [mixed()])
    assert batch.matrix is None
    assert {k: v.tolist() for k, v in batch.columns.items()} == {"s": ["a", "ü"], "b": [True, False], "i": [1 << 40, -1], "f": [0.5, 2]}
    assert batch.frame().shape == (2, 4)
    missing = _batch.receive(MIXED, [mixed(nulls=b"\x02")]).columns
    assert missing["s"].tolist() == ["a", None] and np.isnan(missing["f"][1]) and missing["f"][0] == 0.5


@pytest.mark.parametrize("features, chunks", [
    (XY, []),
    (XY, matrix(2, 2)),
    (XY, matrix(1, 3, parts=[b"\0" * 24])),
    (XY, matrix(1, 2, dtype=pb.VALUE_TYPE_FLOAT32, parts=[b"\0" * 8])),
    (XY, matrix(1, 2, parts=[b"\0" * 17])),
    (XY, matrix(1 << 30, 2)),
    (XY, matrix(1 << 20, 2, parts=[b"\0" * ((1 << 20) + 1)])),
    (XY, [mixed()]),
    (MIXED, matrix(1, 4, parts=[b"\0" * 32])),
    (MIXED, [mixed(), mixed()]),
    (MIXED, [mixed(nulls=b"\1\1")]),
    (MIXED[::-1], [mixed()]),
])
def test_malformed(features, chunks):
    with pytest.raises(_batch.Malformed):
        _batch.receive(features, chunks)


def test_random_messages():
    """The decoder refuses the bytes or returns a batch of the announced size."""
    random.seed(1)
    good = mixed().SerializeToString()
    taken = 0
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(random.randrange(4)):
            data[random.randrange(len(data))] = random.randrange(256)
        try:
            chunk = pb.ScoreChunk.FromString(bytes(data))
        except Exception:  # not a message
            continue
        try:
            batch = _batch.receive(MIXED, [chunk])
        except _batch.Malformed:
            continue
        assert all(len(c) == batch.rows == chunk.rows for c in batch.columns.values())
        taken += 1
    assert taken > 100


def test_scores():
    assert _batch.scores([1, 2.5], 2) == np.array([1, 2.5], "<f8").tobytes()
    with pytest.raises(ValueError, match="3 numbers for 2 rows"):
        _batch.scores([1, 2, 3], 2)
    assert [(e.row, e.field, e.reason) for e in RowErrors({1: ("x", "is odd"), 0: "is empty"}).messages(2)] == [(0, "", "is empty"), (1, "x", "is odd")]
    with pytest.raises(ValueError):
        RowErrors({2: "?"}).messages(2)


def test_estimators():
    class Scorer:
        def score_samples(self, rows):
            return rows.sum(axis=1)

    batch = _batch.receive(XY, matrix(1, 2, parts=[np.array([1, 2], "<f8").tobytes()]))
    assert sklearn(Scorer()).score(batch).tolist() == [3]
    with pytest.raises(TypeError, match="has no decision_function"):
        sklearn(Scorer(), "decision_function")
