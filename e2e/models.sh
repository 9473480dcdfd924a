#!/bin/sh
# Writes the models for the tests into $1: good versions of one detector, and versions with
# different faults. With $2, the module of misbehave/detector, there are also versions that
# misbehave at all rows but golden ones.
set -eu
out=${1:?usage: models.sh DIRECTORY [MODULE]}
module=${2:-}
from=$(cd "$(dirname "$0")/../testdata/models/ecod-c/1.0.0" && pwd)
rm -rf "$out"

version() { # number
	to=$out/ecod-c/$1
	mkdir -p "$to"
	cp "$from"/* "$to"
	sed -i "s/^version: .*/version: $1/" "$to/model.yaml"
}

misbehaving() { # number config
	version "$1"
	cp "$module" "$to/detector.wasm"
	sed -i "s/^digest: .*/digest: sha256:$(sha256sum "$module" | cut -d' ' -f1)/" "$to/model.yaml"
	echo "config: {$2}" >>"$to/model.yaml"
}

for number in 1.0.0 1.1.0 1.2.0 1.3.0 2.0.0 2.1.0; do version $number; done
# 2.0.0 has inverted scores, and no golden rows that would reveal it.
sed -i -e 's/higher_is_anomalous/higher_is_normal/' -e '/^golden:/d' "$out/ecod-c/2.0.0/model.yaml"
# 2.1.0 is damaged.
printf 'damaged' >> "$out/ecod-c/2.1.0/detector.wasm"
[ -n "$module" ] || exit 0
misbehaving 3.0.0 'fault: constant'
misbehaving 3.1.0 'fault: inverted'
misbehaving 3.2.0 'fault: slow, times: 2000'
misbehaving 3.3.0 'fault: nan, every: 33'
misbehaving 3.4.0 'fault: error, every: 20'
