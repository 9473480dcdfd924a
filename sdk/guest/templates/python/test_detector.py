"""Run with: .venv/bin/python -m unittest"""

import math
import unittest

import numpy as np

from detector import ECOD
from pynomaly_plugin import Batch, Feature

TRAIN = np.array([[1, 2, 3, 4, 5, 6, 7], [0, 0, 0, 0, 1, 1, 9]], dtype=float)


def batch(*rows):
    return Batch(len(rows), [Feature("x", "float64"), Feature("y", "float64")], matrix=np.array(rows, dtype=float))


class TestECOD(unittest.TestCase):
    def test_scores(self):
        got = ECOD(TRAIN).score(batch([4, 0], [100, 0], [4, 100], [math.nan, 0]))
        middle = -math.log(5 / 8)  # x = 4 lies in the middle of a symmetric column: both tails count
        np.testing.assert_allclose(got, [3 * middle, math.log(8) + middle, 2 * middle + math.log(8), math.nan], rtol=1e-12)

    def test_explanation(self):
        rows = batch([4, 0], [100, 7])
        np.testing.assert_allclose(ECOD(TRAIN).explain(rows).sum(axis=1), ECOD(TRAIN).score(rows))

    def test_refusals(self):
        for train in [TRAIN[:, :1], np.array([[1, math.nan]])]:
            with self.assertRaises(ValueError):
                ECOD(train)


if __name__ == "__main__":
    unittest.main()
