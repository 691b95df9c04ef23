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

die() { echo "fetch-headers: $*" >&2; exit 1; }

complete() {
    local header
    for header in "${headers[@]}"; do
        [ -s "$target/linux/$header" ] || return 1
    done
}

if [ "${1:-}" != --force ] && complete; then
    exit 0
fi
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || die "no $tool (not a Debian system)"
done

# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
    awk '$1 ~ /\/debian\/?$/ { print $1; exit }')
[ -n "$mirror" ] || die "apt knows no Debian mirror (no source ends in /debian)"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || die "no $keyring (package debian-archive-keyring)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt drops its rights to "_apt" for downloads.
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/empty" "$work/unpacked"
: >"$work/status"
printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$work/sources.list"
options=(-q -q
    -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/empty"
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts="$work/empty"
    -o Dir::State::Lists="$work/lists" -o Dir::State::Status="$work/status" -o Dir::Cache="$work/cache"
    -o Acquire::Languages=none -o APT::Sandbox::User=root)

log="$work/log"
apt-get "${options[@]}" update >"$log" 2>&1 || { cat "$log" >&2; die "cannot read the package list of $suite"; }
(cd "$work" && apt-get "${options[@]}" download linux-libc-dev) >"$log" 2>&1 ||
    { cat "$log" >&2; die "cannot download linux-libc-dev of $suite"; }
package=$(find "$work" -maxdepth 1 -name 'linux-libc-dev_*.deb' -print -quit)
[ -n "$package" ] || { cat "$log" >&2; die "$suite has no linux-libc-dev"; }
dpkg-deb -x "$package" "$work/unpacked"

# Only the headers that are compared: the rest of the compiler's view stays the system's.
mkdir -p "$target/linux/io_uring"
for header in "${headers[@]}"; do
    install -m 0644 "$work/unpacked/usr/include/linux/$header" "$target/linux/$header"
done
dpkg-deb -f "$package" Version >"$target/VERSION"
echo "fetch-headers: linux-libc-dev $(cat "$target/VERSION") in $target"
