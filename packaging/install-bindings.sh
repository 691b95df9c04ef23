#!/bin/bash
# Installs the sources of the bindings, which programs in those languages build from, and the example programs in C.
# Usage: packaging/install-bindings.sh FOLDER      (a folder of its own: PREFIX/share/qcow2blk/bindings)
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1

rm -rf "$folder"
# Cargo wants every target that Cargo.toml names, so that the tests in Rust come along.
find bindings \( -name target -o -name __pycache__ -o -path bindings/python/tests \) -prune -o \
    -type f ! -name '*_test.go' ! -name .gitignore -print | while IFS= read -r file; do
    install -D -m 0644 "$file" "$folder/${file#bindings/}"
done
