#!/usr/bin/env bash
# Checks the protocol of process plugins with buf, and generates its code for Go and
# Python. With "check" the script fails if the checked-in code differs.
set -euo pipefail
cd "$(dirname "$0")/.."
proto=sdk/process/proto
python=${PYTHON:-python3}
command -v npm >/dev/null || { echo 'proto.sh: npm is not installed; it is needed to install buf' >&2; exit 1; }
(cd "$proto" && npm ci --silent --no-audit --no-fund)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
(cd tools && go build -o "$tmp/" google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc)
(cd "$proto" && PATH="$tmp:$PWD/node_modules/.bin:$PATH" && buf lint && buf format --diff --exit-code && buf generate)
"$python" -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r scripts/requirements-proto.txt
"$tmp/venv/bin/python" -m grpc_tools.protoc -I "$proto" --python_out="$tmp" pynomaly/plugin/v1/plugin.proto
cp "$tmp/pynomaly/plugin/v1/plugin_pb2.py" sdk/python/pynomaly_plugin/plugin_pb2.py
if [ "${1:-}" = check ]; then
  git diff --exit-code -- sdk/process/pluginv1 sdk/python/pynomaly_plugin/plugin_pb2.py || { echo 'proto.sh: the generated code does not match the protocol: run `make proto`' >&2; exit 1; }
  echo '1 passed, 0 failed'
fi
