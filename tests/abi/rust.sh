#!/bin/bash
# Tests the Rust crates against the library that is installed.
# The last line on stdout is "rust: N passed, N failed"; the exit status is 0 only if nothing failed.
# Usage: PKG_CONFIG_PATH=... LD_LIBRARY_PATH=... QCOW2BLK_TEST_IMAGES=... tests/abi/rust.sh [FILTER...]
#        FILTER: only tests whose name contains one of these, such as t200
#        without QCOW2BLK_TEST_IMAGES, the images are made
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

results=$PWD/artifacts/abi/rust
log=$results/test.log
mkdir -p "$results"
export CARGO_TARGET_DIR=$results CARGO_TERM_COLOR=never
temporary=$(mktemp -d) || exit 1
trap 'rm -rf "$temporary"' EXIT
export TMPDIR=$temporary

failed=0
# Formatting and clippy count as a test each.
passed=0
check() {
    local what=$1
    shift
    if "$@" >"$results/$what.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "rust: $what failed:" >&2
        cat "$results/$what.log" >&2
    fi
}

if [ -z "${QCOW2BLK_TEST_IMAGES:-}" ]; then
    export QCOW2BLK_TEST_IMAGES=$temporary/images
    tests/abi/make-images.sh "$QCOW2BLK_TEST_IMAGES" || exit 1
fi
cd bindings/rust || exit 1
for tool in fmt clippy; do
    cargo "$tool" --version >/dev/null 2>&1 || echo "rust: cargo $tool is not installed, so it was not run" >&2
done
if cargo fmt --version >/dev/null 2>&1; then
    check fmt cargo fmt --all --check
fi
if cargo clippy --version >/dev/null 2>&1; then
    check clippy cargo clippy --offline --all-targets -- -D warnings
fi

# A test program that crashes has no result of its own: that is a failure too.
cargo test --offline --no-fail-fast -- "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
read -r ran_well ran_badly < <(awk '/^test result:/ { well += $4; badly += $6 } END { print well + 0, badly + 0 }' "$log")
passed=$((passed + ran_well))
failed=$((failed + ran_badly))
if [ "$status" -ne 0 ] && [ "$ran_badly" -eq 0 ]; then
    failed=$((failed + 1))
fi
echo "rust: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
