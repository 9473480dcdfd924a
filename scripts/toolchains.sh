#!/usr/bin/env bash
# Installs Debian's packages with the compilers of the sample plugins in C, Rust and
# AssemblyScript. Serving and `make test` do not need them.
set -euo pipefail
packages=(
  make
  clang=1:14.0-55.7~deb12u1
  lld=1:14.0-55.7~deb12u1
  wasi-libc=0.0~git20220510.9886d3d-2
  libclang-rt-14-dev-wasm32=1:14.0.6-12
  rustc=1.63.0+dfsg1-2
  cargo=0.66.0+ds1-1
  libstd-rust-dev-wasm32=1.63.0+dfsg1-2
)
command -v node >/dev/null || packages+=(nodejs npm) # AssemblyScript itself comes by npm, pinned in package-lock.json
command -v apt-get >/dev/null || { echo 'toolchains.sh: apt-get is missing: install clang, lld, wasi-libc, Rust with wasm32-unknown-unknown, and Node.js' >&2; exit 1; }
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
missing=()
for p in "${packages[@]}"; do
  dpkg-query --show --showformat='${Status}' "${p%%=*}" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
[ "${#missing[@]}" = 0 ] && exit 0
"${as_root[@]}" apt-get update --quiet=2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get install --yes --quiet=2 --no-install-recommends "${missing[@]}" >/dev/null || {
  echo 'toolchains.sh: some pinned versions are not available: pin the available ones (apt-cache policy clang rustc), then run `make guests-update`' >&2
  exit 1
}
