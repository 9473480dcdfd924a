#!/bin/sh
# Writes the models for the tests into $1: good versions of one detector, and versions with
# different faults.
set -eu
out=${1:?usage: models.sh DIRECTORY}
from=$(cd "$(dirname "$0")/../testdata/models/ecod-c/1.0.0" && pwd)
rm -rf "$out"
for version in 1.0.0 1.1.0 1.2.0 1.3.0 2.0.0 2.1.0; do
	to=$out/ecod-c/$version
	mkdir -p "$to"
	cp "$from"/* "$to"
	sed -i "s/^version: .*/version: $version/" "$to/model.yaml"
done
# 2.0.0 has inverted scores, and no golden rows that would reveal it.
sed -i -e 's/higher_is_anomalous/higher_is_normal/' -e '/^golden:/d' "$out/ecod-c/2.0.0/model.yaml"
# 2.1.0 is damaged.
printf 'damaged' >> "$out/ecod-c/2.1.0/detector.wasm"
