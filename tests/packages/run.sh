#!/bin/bash
# Tests the packages as a user gets them: in clean roots of Debian 12 and 13, and by rpm in a root of its own. The roots are made
# once, by debootstrap, into artifacts/packages/test/roots. Needs root, but neither a running systemd nor namespaces.
# The last line on stdout is "N passed, N failed" (", N skipped" if some were); the exit status is 0 only if nothing failed.
# Usage: tests/packages/run.sh [WORD...]     WORD: only groups with that in their name (description lint bookworm trixie rpm
#                                            arm64 reproducible)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
[ "$(id -u)" = 0 ] || { echo "tests/packages/run.sh: run it as root (it installs into roots of its own)" >&2; exit 2; }

test=$PWD/artifacts/packages/test
logs=$test/logs new=$test/new old=$test/old
old_version=0.0.9
new_version=$(sed -n 's:.*<VersionPrefix>\(.*\)</VersionPrefix>.*:\1:p' Directory.Build.props)
# What is built here is built of the same commit everywhere, also in a copy that is no checkout.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} || exit 1
export SOURCE_DATE_EPOCH
passed=0 failed=0 skipped=0
words=("$@")

. tests/packages/lib.sh
. tests/packages/build.sh
. tests/packages/debian.sh
. tests/packages/rpm.sh
. tests/packages/reproducible.sh

rm -rf "$logs" && mkdir -p "$logs"
trap clean_up EXIT
started=$SECONDS

say "building packages, of $new_version and of $old_version to upgrade from"
if ! build_packages; then
    say "the packages cannot be built"
    echo "$passed passed, $((failed + 1)) failed"
    exit 1
fi
if wanted description; then
    check description/reader /usr/bin/python3 tests/packages/test_description.py
    check description/what-is-in-which-package what_is_in_which_package
    check description/debug-symbols-belong-to-what-is-packaged debug_symbols
    check description/nfpm-gets-each-document-once nfpm_documents
fi
if wanted lint; then
    check lint/lintian run_lintian
    check lint/rpmlint run_rpmlint
fi
! wanted bookworm || in_debian bookworm
! wanted trixie || in_debian trixie
! wanted rpm || in_rpm
if wanted arm64; then
    if [ -e artifacts/arm64/libqcow2blk.so ] && [ -e artifacts/arm64/qcow2blk ]; then
        check arm64/packages arm64_packages
    else
        skip arm64/packages "nothing is built for arm64 (make build RID=linux-arm64)"
    fi
fi
! wanted reproducible || check reproducible/two-builds-in-two-folders-are-the-same two_builds

say "took $((SECONDS - started)) s"
if [ $skipped -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ $failed -eq 0 ] && [ $passed -gt 0 ]
