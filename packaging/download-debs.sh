#!/bin/bash
# Downloads Debian packages and unpacks them into a folder. The system keeps its own packages, releases and architectures: apt
# works in a directory of its own, and nothing is installed. The mirror is the one that this machine's apt names.
# Usage: packaging/download-debs.sh ARCHITECTURE SUITE|- FOLDER PACKAGE...
#        "-" is the release of this machine's apt. FOLDER/VERSIONS gets a line "PACKAGE VERSION SUITE" for each package, and
#        FOLDER/control/PACKAGE its control files.
set -euo pipefail

die() { echo "download-debs: $*" >&2; exit 1; }

architecture=$1 suite=$2 folder=$3
shift 3
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || die "no $tool (not a Debian system)"
done

# shellcheck disable=SC2016
read -r mirror own_suite < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
    awk '$1 ~ /\/debian\/?$/ { print; exit }') || die "apt knows no Debian mirror (no source ends in /debian)"
[ "$suite" != - ] || suite=$own_suite
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || die "no $keyring (package debian-archive-keyring)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# apt drops its rights to "_apt" for downloads.
chmod 755 "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/empty" "$folder/control"
: >"$work/status"
printf 'deb [arch=%s signed-by=%s] %s %s main\n' "$architecture" "$keyring" "$mirror" "$suite" >"$work/sources.list"
options=(-q -q
    -o APT::Architecture="$architecture" -o APT::Architectures="$architecture"
    -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts="$work/empty"
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts="$work/empty"
    -o Dir::State::Lists="$work/lists" -o Dir::State::Status="$work/status" -o Dir::Cache="$work/cache"
    -o Acquire::Languages=none -o APT::Sandbox::User=root)

log="$work/log"
apt-get "${options[@]}" update >"$log" 2>&1 || { cat "$log" >&2; die "cannot read the package list of $suite"; }
(cd "$work" && apt-get "${options[@]}" download "$@") >"$log" 2>&1 || { cat "$log" >&2; die "cannot download $* of $suite"; }
: >"$folder/VERSIONS"
for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$folder"
    dpkg-deb -e "$package" "$folder/control/$(dpkg-deb -f "$package" Package)"
    echo "$(dpkg-deb -f "$package" Package) $(dpkg-deb -f "$package" Version) $suite" >>"$folder/VERSIONS"
done
