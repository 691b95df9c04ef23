#!/bin/bash
# Puts the newest kernel headers that Debian has (linux-libc-dev of trixie-backports) under
# artifacts/kernel/include/linux, for the tests that compare our constants and structures with them.
# The system keeps its own headers: apt works in a directory of its own, and nothing is installed.
# The mirror is the one that this machine's apt names. Does nothing when the headers are there already.
# Usage: tests/kernel/fetch-headers.sh [--force]
set -euo pipefail

suite=trixie-backports
headers=(ublk_cmd.h io_uring.h io_uring/zcrx.h nbd.h nbd-netlink.h)

cd "$(dirname "$0")/../.."
target=artifacts/kernel/include

complete() {
    local header
    for header in "${headers[@]}"; do
        [ -s "$target/linux/$header" ] || return 1
    done
}

if [ "${1:-}" != --force ] && complete; then
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packaging/download-debs.sh "$(dpkg --print-architecture)" "$suite" "$work" linux-libc-dev

# Only the headers that are compared: the rest of the compiler's view stays the system's.
mkdir -p "$target/linux/io_uring"
for header in "${headers[@]}"; do
    install -m 0644 "$work/usr/include/linux/$header" "$target/linux/$header"
done
cut -d' ' -f2 "$work/VERSIONS" >"$target/VERSION"
echo "fetch-headers: linux-libc-dev $(cat "$target/VERSION") in $target"
