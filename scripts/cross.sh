#!/bin/sh
# Builds the host for other platforms, one after the other.
#
# usage: cross.sh [OS/ARCH:CGO]...
#
# CGO is 1 or 0. With cgo, builds for Linux use Zig as the C compiler, for the version of
# glibc that ONNX Runtime needs. Builds for macOS with cgo need Apple's SDK, and so a Mac.
set -eu
cd "$(dirname "$0")/.."
export GOWORK=off

python=${PYTHON:-python3}
glibc=2.28
version=$(cat VERSION)

if [ $# = 0 ]; then
	set -- linux/amd64:0 linux/arm64:0 darwin/amd64:0 darwin/arm64:0 linux/amd64:1 linux/arm64:1
	if [ "$(uname -s)" = Darwin ]; then
		set -- "$@" darwin/amd64:1 darwin/arm64:1
	else
		echo 'macOS with cgo is left out: it is built on a Mac'
	fi
fi

zig() {
	if [ ! -f .cross/.complete ] || [ scripts/requirements-cross.txt -nt .cross/.complete ]; then
		rm -rf .cross
		"$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes --target .cross -r scripts/requirements-cross.txt
		touch .cross/.complete
	fi
	zig=$PWD/.cross/ziglang/zig
	export ZIG_GLOBAL_CACHE_DIR="$PWD/.cross/cache" ZIG_LOCAL_CACHE_DIR="$PWD/.cross/cache"
}

mkdir -p dist/cross
for target; do
	cgo=${target#*:} os=${target%%/*}
	arch=${target%:*}
	arch=${arch#*/}
	out=dist/cross/pynomaly-runtime-$os-$arch
	[ "$cgo" = 1 ] || out=$out-nocgo
	unset CC CXX
	if [ "$cgo" = 1 ] && [ "$os" = linux ]; then
		zig
		case $arch in
		amd64) machine=x86_64 ;;
		arm64) machine=aarch64 ;;
		*) echo "cross.sh: unknown architecture $arch" >&2 && exit 1 ;;
		esac
		export CC="$zig cc -target $machine-linux-gnu.$glibc" CXX="$zig c++ -target $machine-linux-gnu.$glibc"
	fi
	CGO_ENABLED=$cgo GOOS=$os GOARCH=$arch ${NICE:-nice} go build -trimpath -ldflags "-s -w -X main.version=$version" -o "$out" ./cmd/pynomaly-runtime
	for setting in "CGO_ENABLED=$cgo" "GOOS=$os" "GOARCH=$arch"; do
		go version -m "$out" | grep -q "$setting" || { echo "cross.sh: $out was not built with $setting" >&2 && exit 1; }
	done
	echo "$out"
done
