#!/bin/bash
# Follows the README page of a binding with nothing but the installed files and a compiler: builds the complete program of the page
# in an empty folder, and runs it on an image. Called by run.sh, which sets the paths of the installation.
# Usage: tests/abi/installed.sh c|go|rust|python SHARE       (SHARE: the installed PREFIX/share/qcow2blk/bindings)
set -euo pipefail
language=$1 share=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp "$QCOW2BLK_TEST_IMAGES/plain.qcow2" "$folder/disk.qcow2"
qemu-img create -q -f qcow2 "$folder/copy.qcow2" 64M

# The first block of code of that language.
program() { awk -v fence="^\`\`\`$1" '$0 ~ fence { on = 1; next } /^```/ { if (on) exit } on' "$share/$language/README.md"; }

cd "$folder"
case $language in
    c)
        program c >first.c
        # shellcheck disable=SC2046
        cc -std=c99 -Wall -Wextra -Werror first.c -o first $(pkg-config --cflags --libs qcow2blk)
        ./first disk.qcow2 | grep -qx '67108864 bytes, the first is 0x01' ;;
    go)
        program go >main.go
        export GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local
        go mod init example >/dev/null 2>&1
        go mod edit -require=qcow2blk@v0.1.0 "-replace=qcow2blk=$share/go"
        go build -o program .
        ./program disk.qcow2 | cmp - <(qemu-img convert -O raw disk.qcow2 raw.img && cat raw.img) ;;
    rust)
        cargo init --quiet --offline --name example --vcs none .
        program rust >src/main.rs
        sed -i "s:^\[dependencies\]:&\nqcow2blk = { path = \"$share/rust/qcow2blk\" }:" Cargo.toml
        cargo run --quiet --offline -- disk.qcow2 | tee said
        [ "$(grep -c '^write .*: 4096 bytes$' said)" -eq 16 ]
        qemu-io -r -f qcow2 -c 'read -P 15 960k 4k' disk.qcow2 | grep -q 'read 4096' ;;
    python)
        program python >program.py
        PYTHONPATH=$share/python /usr/bin/python3 program.py disk.qcow2 copy.qcow2
        qemu-img compare -q disk.qcow2 copy.qcow2 ;;
esac
echo "the program of $language/README.md works"
