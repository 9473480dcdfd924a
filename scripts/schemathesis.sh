#!/usr/bin/env bash
# Generates requests from the API's description, sends them to a running host, and checks
# every response against the description. usage: schemathesis.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
"$1" serve --models testdata/models --port 0 --state-dir "$work/state" --drain 0s 2>"$work/log" &
host=$!
trap 'kill "$host" 2>/dev/null || true; wait "$host" 2>/dev/null || true; rm -rf "$work"' EXIT
for _ in $(seq 300); do
  address=$(sed -n 's/.*"message":"serving".*"address":"\([^"]*\)".*/\1/p' "$work/log" | head -n 1)
  [ -n "$address" ] && curl --silent --fail "http://$address/ready" >/dev/null && break
  kill -0 "$host" || { cat "$work/log"; exit 1; }
  sleep 0.1
done
PYTHONPATH=.python "${PYTHON:-python3}" -m schemathesis.cli --config-file scripts/schemathesis.toml run "http://$address/openapi.json" \
  --phases examples,coverage,fuzzing,stateful --max-examples "${EXAMPLES:-200}" --seed 1 --no-color
kill -0 "$host" || { echo 'the host died:'; tail "$work/log"; exit 1; }
curl --silent --fail --show-error "http://$address/health"
echo
