#!/bin/sh
# Fetches ONNX Runtime's shared library into a directory.
#
# usage: onnxruntime.sh DIRECTORY [PLATFORM]
#
# The platform is Linux-x86_64 or Linux-aarch64, by default this machine's.
#
# The script tries pip, then npm, then the project's release page. It accepts only files
# whose sha256 is listed here. The npm registry has no release 1.28.0 of the library, so
# npm gives 1.27.0, with which the host also works.
set -eu

version=1.28.0
npm_version=1.27.0
target=${1:?usage: onnxruntime.sh DIRECTORY [PLATFORM]}

case ${2:-$(uname -s)-$(uname -m)} in
Linux-x86_64)
	platform=x86_64 npm_arch=x64 release_arch=x64
	sums='aa4079d18f4ea7a5f3a94d80cd4bbe0f2740436626622d64d793803a20381083
d8aff4aa8abee8fb2abb2f2f2459ffc94461e781e41b9f7c072829dd0d470221'
	;;
Linux-aarch64)
	platform=aarch64 npm_arch=arm64 release_arch=aarch64
	sums='23a37c2994bc273e1d59a4f49af6cba5bf1cfbc29f04907ec27df375aba50a7d
c36bc200e7e6c093b8abb0b34590fbdd8c52fd3fb5e33795b9523ffdde2fce0f'
	;;
*)
	echo "onnxruntime.sh: ONNX Runtime can be fetched only for Linux on x86_64 and aarch64; elsewhere name a library with --onnxruntime" >&2
	exit 1
	;;
esac

library=$target/libonnxruntime.so.$version

known() {
	[ -f "$1" ] || return 1
	sum=$(sha256sum "$1" | cut -d' ' -f1)
	printf '%s\n' "$sums" | grep -qx "$sum"
}

if known "$library"; then
	exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

by_pip() {
	command -v python3 >/dev/null || return 1
	python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
		--implementation cp --abi cp312 --platform "manylinux_2_27_$platform" --platform "manylinux_2_28_$platform" \
		--dest "$work/pip" "onnxruntime==$version" || return 1
	python3 -m zipfile -e "$work"/pip/onnxruntime-*.whl "$work/wheel" || return 1
	found=$work/wheel/onnxruntime/capi/libonnxruntime.so.$version
}

by_npm() {
	command -v npm >/dev/null || return 1
	mkdir -p "$work/npm"
	(cd "$work/npm" && npm pack --silent "onnxruntime-node@$npm_version" >/dev/null && tar xzf onnxruntime-node-*.tgz) || return 1
	found=$work/npm/package/bin/napi-v6/linux/$npm_arch/libonnxruntime.so.1
}

by_release() {
	command -v curl >/dev/null || return 1
	name=onnxruntime-linux-$release_arch-$version
	curl -fsSL -o "$work/release.tgz" \
		"https://github.com/microsoft/onnxruntime/releases/download/v$version/$name.tgz" || return 1
	tar xzf "$work/release.tgz" -C "$work" || return 1
	found=$work/$name/lib/libonnxruntime.so.$version
}

for way in by_pip by_npm by_release; do
	if $way; then
		if known "$found"; then
			mkdir -p "$target"
			cp "$found" "$library.new"
			mv "$library.new" "$library"
			for notice in LICENSE ThirdPartyNotices.txt; do
				[ ! -f "$work/wheel/onnxruntime/$notice" ] || cp "$work/wheel/onnxruntime/$notice" "$target/onnxruntime-$notice"
			done
			echo "ONNX Runtime: $library ($way)"
			exit 0
		fi
		echo "onnxruntime.sh: the file from $way has an unknown sha256 and is not used" >&2
	fi
done
echo "onnxruntime.sh: ONNX Runtime could not be fetched by pip, npm or curl" >&2
exit 1
