#!/bin/sh
# Makes a release in dist/release: archives, deb and rpm, checksums and SBOMs.
#
# usage: release.sh [--snapshot] [other flags of goreleaser]
#
# A snapshot is built from the working tree and is not published. Without --snapshot the
# checked-out tag is published, for which goreleaser needs a GITHUB_TOKEN.
set -eu
cd "$(dirname "$0")/.."
export GOWORK=off
bin=$PWD/bin
mkdir -p "$bin" dist

# The modules in tools pin the versions of the tools.
tool() {
	[ "$bin/$1" -nt "tools/$2/go.sum" ] || (cd "tools/$2" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$bin/$1" "$3")
}
tool goreleaser release github.com/goreleaser/goreleaser/v2
tool cyclonedx-gomod sbom github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

make detectors
scripts/onnxruntime.sh dist/onnxruntime-amd64 Linux-x86_64
scripts/onnxruntime.sh dist/onnxruntime-arm64 Linux-aarch64

# scripts/cross.sh uses the same C compiler.
if [ ! -f .cross/.complete ]; then
	rm -rf .cross
	"${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --target .cross -r scripts/requirements-cross.txt
	touch .cross/.complete
fi
export ZIG="$PWD/.cross/ziglang/zig" ZIG_GLOBAL_CACHE_DIR="$PWD/.cross/cache" ZIG_LOCAL_CACHE_DIR="$PWD/.cross/cache"
COMMIT=$(git rev-parse --short HEAD) VERSION=$(cat VERSION) PATH="$bin:$PATH" GOMAXPROCS=2 nice goreleaser release --clean --parallelism 1 --config .goreleaser.yaml "$@"
