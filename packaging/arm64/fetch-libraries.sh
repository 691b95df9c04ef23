#!/bin/bash
# Puts the static libraries that an arm64 binary links with (libdeflate and libzstd, of this Debian's release) under
# artifacts/arm64/lib. The system keeps its own architecture: apt works in a directory of its own, and nothing is installed.
# The mirror and the release are those of this machine's apt. Does nothing when the libraries are there already.
# Usage: packaging/arm64/fetch-libraries.sh [--force]
set -euo pipefail
cd "$(dirname "$0")/../.."

target=artifacts/arm64/lib
packages=(libdeflate-dev libzstd-dev)
archives=(libdeflate.a libzstd.a)

die() { echo "fetch-libraries: $*" >&2; exit 1; }

complete() {
    local archive
    for archive in "${archives[@]}"; do
        [ -s "$target/$archive" ] || return 1
    done
}

if [ "${1:-}" != --force ] && complete; then
    exit 0
fi
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || die "no $tool (not a Debian system)"
done

# shellcheck disable=SC2016
read -r mirror suite < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
    awk '$1 ~ /\/debian\/?$/ { print; exit }') || die "apt knows no Debian mirror (no source ends in /debian)"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || die "no $keyring (package debian-archive-keyring)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt drops its rights to "_apt" for downloads.
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/empty" "$work/unpacked"
: >"$work/status"
printf 'deb [arch=arm64 signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$work/sources.list"
options=(-q -q
    -o APT::Architecture=arm64 -o APT::Architectures=arm64
    -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/empty"
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts="$work/empty"
    -o Dir::State::Lists="$work/lists" -o Dir::State::Status="$work/status" -o Dir::Cache="$work/cache"
    -o Acquire::Languages=none -o APT::Sandbox::User=root)

log="$work/log"
apt-get "${options[@]}" update >"$log" 2>&1 || { cat "$log" >&2; die "cannot read the arm64 package list of $suite"; }
(cd "$work" && apt-get "${options[@]}" download "${packages[@]}") >"$log" 2>&1 ||
    { cat "$log" >&2; die "cannot download ${packages[*]} of $suite for arm64"; }
for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/unpacked"
done

mkdir -p "$target"
for archive in "${archives[@]}"; do
    install -m 0644 "$work/unpacked/usr/lib/aarch64-linux-gnu/$archive" "$target/$archive"
done
echo "fetch-libraries: ${archives[*]} of $suite for arm64 in $target"
