#!/usr/bin/env bash
# Runs recipes of docs/cookbook, each in an empty directory. A recipe fails if the host's
# scores are not those of its library.
#
# usage: cookbook.sh RECIPE...
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export PATH="$root/bin:$root/.cookbook/bin:$PATH"
for name; do
  work=$(mktemp -d)
  log=$work/recipe.log
  if ! (cd "$work" && python "$root/docs/cookbook/$name.py") >"$log" 2>&1; then
    cat "$log" >&2
    echo "cookbook.sh: $name failed in $work" >&2
    exit 1
  fi
  echo "$name: $(tail -n 1 "$log")"
  rm -rf "$work"
done
