#!/bin/bash
# Runs an example of bindings/c as its comment says, and checks what it did with qemu's tools.
# Usage: tests/abi/examples.sh NAME PROGRAM    (tests/abi/run.sh calls it and sets the environment)
set -euo pipefail
name=$1 program=$2
readme=$(realpath "$(dirname "$0")/../../bindings/c/README.md")
images=$QCOW2BLK_TEST_IMAGES
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

die() { echo "$name: $*" >&2; exit 1; }

expect() { # EXPECTED GOT
    [ "$1" = "$2" ] || die "expected \"$1\", got \"$2\""
}

# A program that cannot do it says why, names the file, and fails.
expect_failure() { # WORD COMMAND...
    local word=$1 status=0
    shift
    "$@" >"$folder/failure" 2>&1 || status=$?
    [ $status -eq 1 ] || die "expected status 1, got $status from: $*"
    grep -q "$word" "$folder/failure" || die "no \"$word\" in: $(cat "$folder/failure")"
}

case $name in
    read)
        # qemu-io prints the same, with eight digits of the offset and the characters behind.
        expected=$(qemu-io -r -f qcow2 -c 'read -v 65520 40' "$images/plain.qcow2" |
                   sed -nE 's/^([0-9a-f]{8}): +(([0-9a-f]{2} )+).*/00\1  \2/p' | sed 's/ *$//')
        expect "$expected" "$("$program" "$images/plain.qcow2" 65520 40)"
        expect_failure missing.qcow2 "$program" "$folder/missing.qcow2" 0 1
        expect_failure 'cannot read' "$program" "$images/plain.qcow2" 67108864 1 ;;
    copy)
        qemu-img create -q -f qcow2 "$folder/to.qcow2" 64M
        "$program" "$images/compressed.qcow2" "$folder/to.qcow2"
        qemu-img check -q -f qcow2 "$folder/to.qcow2"
        qemu-img compare -q -f qcow2 -F qcow2 "$images/compressed.qcow2" "$folder/to.qcow2" || die "the copy differs"
        # Zeroes were left out.
        [ "$(stat -c %s "$folder/to.qcow2")" -lt 6000000 ] || die "the copy has $(stat -c %s "$folder/to.qcow2") bytes"
        expect_failure missing.qcow2 "$program" "$images/plain.qcow2" "$folder/missing.qcow2"
        qemu-img create -q -f qcow2 "$folder/small.qcow2" 1M
        expect_failure copying "$program" "$images/plain.qcow2" "$folder/small.qcow2" ;;
    differ)
        cp "$images/base.qcow2" "$images/overlay.qcow2" "$folder"
        qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$folder/to.qcow2"
        expect '262144 bytes of data, 65536 bytes of zeroes' "$("$program" "$folder/overlay.qcow2" "$folder/to.qcow2")"
        qemu-img check -q -f qcow2 "$folder/to.qcow2"
        qemu-img compare -q -f qcow2 -F qcow2 "$folder/overlay.qcow2" "$folder/to.qcow2" || die "the copy differs"
        expect_failure missing.qcow2 "$program" "$folder/missing.qcow2" "$folder/to.qcow2" ;;
    snapshot)
        cp "$images/plain.qcow2" "$folder/disk.qcow2"
        expect "attached: nbd+unix:///?socket=$folder/disk.sock" "$("$program" "$folder/disk.qcow2" monday "$folder/disk.sock")"
        qemu-img snapshot -l "$folder/disk.qcow2" | grep -q monday || die "there is no snapshot"
        qemu-img check -q -f qcow2 "$folder/disk.qcow2"
        expect_failure missing.qcow2 "$program" "$folder/missing.qcow2" monday "$folder/disk.sock" ;;
    backup)
        cp "$images/plain.qcow2" "$folder/disk.qcow2"
        expect '4194304 bytes copied' "$("$program" "$folder/disk.qcow2" "$folder/copy.qcow2")"
        expect '0 bytes copied' "$("$program" "$folder/disk.qcow2" "$folder/copy.qcow2")"
        # What qemu writes is recorded too.
        qemu-io -f qcow2 -c 'write -P 9 100k 8k' -c 'write -z 1M 64k' -c 'write -P 7 30M 128k' "$folder/disk.qcow2" >/dev/null
        expect '262144 bytes copied' "$("$program" "$folder/disk.qcow2" "$folder/copy.qcow2")"
        expect '0 bytes copied' "$("$program" "$folder/disk.qcow2" "$folder/copy.qcow2")"
        qemu-img check -q -f qcow2 "$folder/disk.qcow2"
        qemu-img compare -q -f qcow2 -F qcow2 "$folder/disk.qcow2" "$folder/copy.qcow2" || die "the copy differs"
        expect_failure missing.qcow2 "$program" "$folder/missing.qcow2" "$folder/copy.qcow2" ;;
    loop)
        # Cluster i of 64 KiB is filled with i + 1.
        expect $((64 * 65 / 2 * 65536)) "$("$program" "$images/plain.qcow2")"
        expect $((64 * 65 / 2 * 65536)) "$("$program" "$images/zstd.qcow2")"
        expect_failure missing.qcow2 "$program" "$folder/missing.qcow2" ;;
    readme)
        sed -n '/^```c$/,/^```$/p' "$readme" | sed '1d; $d' >"$folder/first.c"
        [ "$(wc -l <"$folder/first.c")" -lt 30 ] || die "the program of the README has 30 lines or more"
        cd "$folder"
        # The command of the README itself, with the folders of this installation.
        eval "$(sed -n 's/^cc .*first\.c.*/& -Werror/p' "$readme")"
        expect '67108864 bytes, the first is 0x01' "$(./first "$images/plain.qcow2")"
        expect_failure missing.qcow2 ./first missing.qcow2 ;;
    *) die "no such example" ;;
esac
