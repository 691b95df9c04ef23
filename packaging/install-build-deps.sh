#!/bin/bash
# Installs the Debian packages that building, testing, the demo and the benchmark need, and only those that
# are missing. Needs root or sudo when something is missing; changes nothing otherwise.
# Usage: packaging/install-build-deps.sh [build|arm64|packages|test|abi|test-arm64|demo|fleet|bench|kernel|all]   (default: all)
set -euo pipefail

# The compiler driver and archives that NativeAOT links with.
build_packages=(gcc libc6-dev libdeflate-dev libzstd-dev)
# What links for arm64 on another machine; the libraries themselves: packaging/arm64/fetch-libraries.sh.
arm64_packages=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
# The oracles and clients that the tests compare us with, and the C headers that they check constants against.
test_packages=(qemu-utils qemu-system-x86 fio libnbd-bin libnbd-dev python3 python3-libnbd nbdkit e2fsprogs jq strace mandoc groff
               netcat-openbsd python3-prometheus-client python3-pyte zsh fish nginx openssl libcurl4 libcurl4-openssl-dev)
# Compilers of the languages that the library has bindings for, and what watches their programs. Rust: cargo, from Debian or rustup.
abi_packages=(gcc g++ golang-go pkg-config qemu-utils libnbd-bin valgrind python3)
test_arm64_packages=(qemu-user-static qemu-utils libnbd-bin)
# What builds, checks and tries the packages: rpm's tools on Debian, linters, clean roots.
packages_packages=(dpkg-dev rpm python3 python3-yaml mandoc lintian rpmlint debootstrap qemu-utils libnbd-bin)
demo_packages=(qemu-utils libnbd-bin python3 python3-libnbd e2fsprogs)
fleet_packages=(qemu-utils qemu-block-extra nbdkit nginx libcurl4 python3 python3-libnbd)
bench_packages=(qemu-utils fio libnbd-bin nginx libcurl4 python3)
# The virtual machines of the tests on real kernels: the emulator, and the programs that run inside.
kernel_packages=(qemu-system-x86 qemu-utils cryptsetup-bin busybox-static cpio kmod udev systemd dmsetup fio e2fsprogs xfsprogs fdisk
                 jq strace nbd-client libnbd-bin python3 procps psmisc gawk libcap2-bin iproute2 dpkg-dev python3-yaml
                 apparmor)

die() { echo "install-build-deps: $*" >&2; exit 1; }

purpose=${1:-all}
case $purpose in
    build) wanted=("${build_packages[@]}") ;;
    arm64) wanted=("${build_packages[@]}" "${arm64_packages[@]}") ;;
    test-arm64) wanted=("${build_packages[@]}" "${arm64_packages[@]}" "${test_arm64_packages[@]}") ;;
    packages) wanted=("${build_packages[@]}" "${packages_packages[@]}") ;;
    test)  wanted=("${build_packages[@]}" "${test_packages[@]}") ;;
    abi)   wanted=("${build_packages[@]}" "${abi_packages[@]}") ;;
    demo)  wanted=("${build_packages[@]}" "${demo_packages[@]}") ;;
    fleet) wanted=("${build_packages[@]}" "${fleet_packages[@]}") ;;
    bench) wanted=("${build_packages[@]}" "${bench_packages[@]}") ;;
    kernel) wanted=("${build_packages[@]}" "${kernel_packages[@]}") ;;
    all)   wanted=("${build_packages[@]}" "${arm64_packages[@]}" "${test_packages[@]}" "${abi_packages[@]}" "${test_arm64_packages[@]}"
                   "${demo_packages[@]}" "${fleet_packages[@]}" "${bench_packages[@]}" "${kernel_packages[@]}" "${packages_packages[@]}") ;;
    *)     die "unknown purpose \"$purpose\" (one of: build arm64 packages test abi test-arm64 demo fleet bench kernel all)" ;;
esac

require_dotnet() {
    local hint="install it from https://dotnet.microsoft.com/download/dotnet/10.0 (Debian has no package of it)"
    command -v dotnet >/dev/null || die "the .NET SDK 10 is missing: no \"dotnet\" in PATH; $hint"
    dotnet --list-sdks | grep -qE '^1[0-9]\.' ||
        die "the .NET SDK 10 is missing: \"dotnet --list-sdks\" shows $(dotnet --list-sdks | tr '\n' ' '); $hint"
}

list_missing() {
    local package
    for package in $(printf '%s\n' "${wanted[@]}" | sort -u); do
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

case $(uname -m) in
    x86_64 | aarch64) ;;
    *) die "only x86_64 and aarch64 are supported, this machine is $(uname -m)" ;;
esac
require_dotnet
if ! command -v dpkg-query >/dev/null; then
    echo "install-build-deps: this is no Debian system: install the equivalents of these yourself:" \
         "$(printf '%s\n' "${wanted[@]}" | sort -u | tr '\n' ' ')" >&2
    exit 0
fi

mapfile -t missing < <(list_missing)
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
        die "these Debian packages are missing: ${missing[*]}; run as root: apt-get install ${missing[*]}"
    as_root=(sudo)
fi

has_candidates() {
    local package
    for package in "${missing[@]}"; do
        apt-cache policy "$package" 2>/dev/null | grep -qE '^ +Candidate: [^(]' || return 1
    done
}

apt_install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"
}

echo "installing Debian packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
has_candidates || "${as_root[@]}" apt-get update -q >"$log" 2>&1 || { cat "$log" >&2; die "apt-get update failed"; }
if ! apt_install >"$log" 2>&1; then
    # A package list that is older than the archive names files that are gone: read it anew, once.
    "${as_root[@]}" apt-get update -q >"$log" 2>&1 || true
    apt_install >"$log" 2>&1 || { cat "$log" >&2; die "apt-get install failed: ${missing[*]}"; }
fi
