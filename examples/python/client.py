"""Scores a batch of rows on a host. It needs only Python 3.9.

python3 client.py [URL of a host]
"""

import json
import sys
import urllib.error
import urllib.request

ROWS = [
    [8, 155, 62, 26, 495, 34, 0.543, 46],
    [1, 89, 66, 23, 94, 28.1, 0.167, 21],
    [1, 89, 66],  # too short: this row fails, the others do not
]


class Problem(Exception):
    """The host's problem (RFC 9457) in place of predictions."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body.get('error_type')}: {body.get('detail')}")
        self.status, self.body = status, body


def predict(host, model, rows):
    """Returns one prediction for each row, in order. A failed row has only "error"."""
    request = urllib.request.Request(
        f"{host}/api/v1/predict/batch",
        data=json.dumps({"model_id": model, "data": rows}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        raise Problem(error.code, json.load(error)) from error


def main():
    host = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
    for i, row in enumerate(predict(host, "pima-lof", ROWS)):
        if "error" in row:
            print(f"row {i}: {row['error']['error_type']}: {row['error']['detail']}")
        else:
            print(f"row {i}: score {row['score']:.4f} anomaly {str(row['is_anomaly']).lower()}")


if __name__ == "__main__":
    main()
