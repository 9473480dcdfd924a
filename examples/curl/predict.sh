#!/bin/sh
# Scores one row and then a batch on a host: predict.sh [URL of a host]
set -eu
host=${1:-http://127.0.0.1:8080}

# With --fail-with-body curl fails if the host answers with a problem, and prints it.
curl --silent --show-error --fail-with-body --max-time 10 "$host/api/v1/predict" \
  --header 'Content-Type: application/json' \
  --data '{"model_id": "pima-lof", "data": {"f0": 8, "f1": 155, "f2": 62, "f3": 26, "f4": 495, "f5": 34, "f6": 0.543, "f7": 46}}'
echo
curl --silent --show-error --fail-with-body --max-time 10 "$host/api/v1/predict/batch" \
  --header 'Content-Type: application/json' \
  --data '{"model_id": "pima-lof", "data": [[8, 155, 62, 26, 495, 34, 0.543, 46], [1, 89, 66, 23, 94, 28.1, 0.167, 21], [1, 89, 66]]}'
echo
