#!/bin/bash
# Puts the static libraries that an arm64 binary links with (libdeflate and libzstd, of this Debian's release) under
# artifacts/arm64/lib. Nothing is installed. Does nothing when the libraries are there already.
# Usage: packaging/arm64/fetch-libraries.sh [--force]
set -euo pipefail
cd "$(dirname "$0")/../.."

target=artifacts/arm64/lib
packages=(libdeflate-dev libzstd-dev)
archives=(libdeflate.a libzstd.a)

complete() {
    local archive
    for archive in "${archives[@]}"; do
        [ -s "$target/$archive" ] || return 1
    done
}

if [ "${1:-}" != --force ] && complete; then
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packaging/download-debs.sh arm64 - "$work" "${packages[@]}"
mkdir -p "$target"
for archive in "${archives[@]}"; do
    install -m 0644 "$work/usr/lib/aarch64-linux-gnu/$archive" "$target/$archive"
done
echo "fetch-libraries: $(tr '\n' ' ' <"$work/VERSIONS")for arm64 in $target"
