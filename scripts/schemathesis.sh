#!/usr/bin/env bash
# Generates requests from the API's description, sends them to running hosts, and checks
# every response against the description: on a host that asks for no credentials, on one
# that asks for a key, with a key that may do everything, and there without one, where
# everything but the public paths must be refused.
# usage: schemathesis.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
host=
stop() { [ -z "$host" ] || { kill "$host" 2>/dev/null || true; wait "$host" 2>/dev/null || true; }; host=; }
trap 'stop; rm -rf "$work"' EXIT

# start NAME ARGUMENTS... starts a host, and sets address.
start() {
  local name=$1
  shift
  "$binary" serve --models testdata/models --port 0 --state-dir "$work/state" --drain 0s --request-timeout 5m "$@" 2>"$work/$name.log" &
  host=$!
  for _ in $(seq 6000); do # ends only what hangs
    address=$(sed -n 's/.*"message":"serving".*"address":"\([^"]*\)".*/\1/p' "$work/$name.log" | head -n 1)
    [ -n "$address" ] && curl --silent --fail "http://$address/ready" >/dev/null && return
    kill -0 "$host" || { cat "$work/$name.log"; exit 1; }
    sleep 0.1
  done
}

# run ARGUMENTS... runs schemathesis, and checks that the host is well afterwards.
run() {
  PYTHONPATH=.python "${PYTHON:-python3}" -m schemathesis.cli --config-file scripts/schemathesis.toml run "$work/openapi.json" --url "http://$address" --seed 1 --no-color --request-timeout 330 "$@" | tee "$work/output"
  kill -0 "$host" || { echo 'the host died:'; tail "$work"/*.log; exit 1; }
  curl --silent --fail --show-error "http://$address/health"
  echo
}

binary=$1
start open
curl --silent --fail --show-error "http://$address/openapi.json" >"$work/openapi.json"
run --phases examples,coverage,fuzzing,stateful --max-examples "${EXAMPLES:-200}"
stop

key=$("$binary" key create --role admin --file "$work/keys.yaml" 2>/dev/null)
start closed --env production --auth-keys "$work/keys.yaml"
run --phases examples,coverage,fuzzing --max-examples "${EXAMPLES_WITH_KEY:-50}" --header "X-API-Key: $key"
# Nobody: every operation answers 401, but for those that everybody may have, which are
# health, ready and metrics.
run --phases coverage,fuzzing --max-examples "${EXAMPLES_WITHOUT:-20}" --exclude-path-regex '^/(health|ready|metrics)$' \
  --checks not_a_server_error,status_code_conformance,response_schema_conformance,content_type_conformance
closed=$(($(grep -o '"operationId"' "$work/openapi.json" | wc -l) - 3))
grep -q "$closed operations returned only 401/403" "$work/output" || { echo "not all of $closed operations refuse nobody"; exit 1; }
