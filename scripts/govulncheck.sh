#!/usr/bin/env bash
# Looks for known vulnerabilities in what the host and the SDKs call. It fails for each that
# .github/govulncheck.txt does not accept, or accepts no longer.
set -euo pipefail
cd "$(dirname "$0")/.."
export GOWORK=off
root=$PWD
today=$(date -u +%Y-%m-%d)
accepted=$(awk -v today="$today" '$1 ~ /^GO-/ && $2 >= today {print $1}' .github/govulncheck.txt)
failed=
for module in . sdk sdk/process; do
  # The SARIF of a module has one result for each vulnerability; level error means that its
  # code is called.
  found=$(cd "$module" && go run golang.org/x/vuln/cmd/govulncheck@v1.9.0 -format sarif ./... |
    python3 -c 'import json, sys; print("\n".join(sorted({r["ruleId"] for run in json.load(sys.stdin)["runs"] for r in run.get("results", []) if r.get("level") == "error"})))')
  for id in $found; do
    if grep -qx "$id" <<<"$accepted"; then
      echo "$module: $id is accepted"
    else
      echo "$module: $id: https://pkg.go.dev/vuln/$id"
      failed=1
    fi
  done
done
cd "$root"
[ -z "$failed" ]
