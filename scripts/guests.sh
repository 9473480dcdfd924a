#!/usr/bin/env bash
# Builds the sample plugins as an author would, and checks that they give the same scores
# as the checked-in modules.
#
# usage: guests.sh BINARY [update]
#
# With update, the new modules replace the checked-in ones.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "$1")
update=${2:-}
# Only Debian's cargo finds Debian's wasm32 library.
if [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/wasm32-unknown-unknown ]; then
  export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compilers() {
  case $1 in
    c) clang --version | head -n 1 ;;
    rust) "${RUSTC:-rustc}" --version ;;
    assemblyscript) node -p "'AssemblyScript ' + require('$work/ecod-assemblyscript/node_modules/assemblyscript/package.json').version" ;;
  esac
}
passed=0
samples=
for language in c rust assemblyscript; do
  name=ecod-$language project=$work/ecod-$language
  "$binary" plugin new --lang "$language" --dir "$project" "$name" >/dev/null
  # The digest of the unchanged project. internal/plugindev tests that it is still the same.
  source=$(cd "$project" && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
  "$binary" plugin build "$project"
  case $language in
    c) make --silent -C "$project" test ;;
    rust) (cd "$project" && "${CARGO:-cargo}" test --quiet --target-dir target && cd pynomaly && "${CARGO:-cargo}" test --quiet --target-dir ../target) ;;
    assemblyscript) (cd "$project" && npm test --silent) ;;
  esac
  "$binary" plugin test "$project"
  for data in pima cardio thyroid edge; do
    "$binary" model verify "$(scripts/reference.py "$data" "$project/model/detector.wasm" "$work/reference")"
  done
  if [ -n "$update" ]; then
    rm -rf "testdata/models/$name"
    "$binary" plugin pack "$project" --id "$name" --version 1.0.0 --models testdata/models
  fi
  "$binary" plugin pack "$project" --id new --version 1.0.0 --models "$work/models-$language"
  for which in "$name:testdata/models" "new:$work/models-$language"; do
    "$binary" predict "${which%%:*}" testdata/reference/data/pima-test.csv -o "$work/${which%%:*}.csv" --models "${which#*:}"
  done
  python3 - "$work/$name.csv" "$work/new.csv" <<'PY'
import csv, sys
old, new = ([float(row["score"]) for row in csv.DictReader(open(f))] for f in sys.argv[1:])
assert len(old) == len(new) == 150, (len(old), len(new))
worst = max(abs(a - b) / max(1, abs(a)) for a, b in zip(old, new))
assert worst <= 1e-9, f"the new module's scores are {worst} apart from the old one's"
PY
  module=$(sha256sum "testdata/models/$name/1.0.0/detector.wasm" | cut -d' ' -f1)
  samples+="${samples:+,}
  \"$name\": {\"source\": \"$source\", \"module\": \"$module\", \"compiler\": \"$(compilers "$language")\"}"
  passed=$((passed + 1))
done
[ -z "$update" ] || printf '{%s\n}\n' "$samples" > testdata/guests.json
echo "$passed passed, 0 failed"
