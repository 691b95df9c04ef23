#!/bin/bash
# Checks and tests the Go binding against an installed library: gofmt, go vet, go test with the race detector.
# Usage: tests/abi/go.sh [ARGUMENT-OF-GO-TEST...]
#
# PKG_CONFIG_PATH and LD_LIBRARY_PATH say where the library is installed, PKG_CONFIG_SYSROOT_DIR too if it is in a DESTDIR.
# QCOW2BLK_TEST_IMAGES is a folder from make-images.sh; without it one is made. No network is used.
set -uo pipefail
cd "$(dirname "$0")" || exit 1
here=$PWD
cd ../../bindings/go || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

export GOFLAGS=-mod=mod GOPROXY=off GOSUMDB=off GOWORK=off GOTOOLCHAIN=local CGO_ENABLED=1
# Where there is no home directory there is no cache either.
if [ -z "${GOCACHE:-}${XDG_CACHE_HOME:-}${HOME:-}" ]; then
    export GOCACHE=$work/cache
fi
if [ -z "${QCOW2BLK_TEST_IMAGES:-}" ]; then
    export QCOW2BLK_TEST_IMAGES=$work/images
    "$here/make-images.sh" "$QCOW2BLK_TEST_IMAGES" || exit 1
fi

# Go's cache does not know when a header outside the module has changed.
if ! headers=$(pkg-config --cflags qcow2blk); then
    echo "go: 0 passed, 1 failed"
    exit 1
fi
# shellcheck disable=SC2086 # several words
header=$(gcc $headers -E -include qcow2blk.h -x c /dev/null | sha256sum | cut -c1-16)
export CGO_CFLAGS="${CGO_CFLAGS:--O2 -g} -DQCOW2BLK_HEADER=0x$header"

passed=0
failed=0
count() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "go: FAILED: $2"
    fi
}

unformatted=$(gofmt -l . 2>&1)
[ -z "$unformatted" ]
count $? "gofmt: $unformatted"

go vet ./...
count $? "go vet"

go test -race -count=1 -timeout 15m -v "$@" ./... >"$work/log" 2>&1
status=$?
# Of what passed only the count is of interest.
grep -vE '^(=== |--- PASS|    --- PASS|PASS$|ok  )' "$work/log"
tests_passed=$(grep -c '^--- PASS' "$work/log")
tests_failed=$(grep -c '^--- FAIL' "$work/log")
# A package that does not compile, crashes or finds a race afterwards has no failed test to count.
if [ "$status" -ne 0 ] && [ "$tests_failed" -eq 0 ]; then
    tests_failed=1
fi
passed=$((passed + tests_passed))
failed=$((failed + tests_failed))
if [ "$tests_passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
    failed=1
    echo "go: FAILED: no test was run"
fi

echo "go: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
