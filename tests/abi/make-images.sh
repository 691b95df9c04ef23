#!/bin/bash
# Makes the images of the tests of the C library, with qemu's tools: every language tests against the same ones.
# Usage: tests/abi/make-images.sh FOLDER
#
# plain.qcow2       64 MiB; cluster i (64 KiB) of the first 4 MiB is filled with byte i + 1; nothing after that
# base.qcow2        16 MiB; 0x11 in the first 1 MiB
# overlay.qcow2     16 MiB over base.qcow2; 0x22 from 512 KiB to 768 KiB, zeroes (qemu-io write -z) from there to 832 KiB
# compressed.qcow2  plain.qcow2 compressed with deflate; zstd.qcow2: with zstd
# snapshots.qcow2   1 MiB; its first 64 KiB are 0x31 in snapshot "before", 0x32 in snapshot "after", 0x33 now
# v2.qcow2          1 MiB, compat=0.10, empty
# empty.qcow2       64 MiB, empty
# raw.img           1 MiB of 0x5a, raw
# damaged.qcow2     a qcow2 header whose L1 table lies past the end of the file
set -euo pipefail
mkdir -p "$1"
cd "$1"

qemu-img create -q -f qcow2 plain.qcow2 64M
writes=()
for i in {0..63}; do
    writes+=(-c "write -P $((i + 1)) $((i * 64))k 64k")
done
qemu-io -f qcow2 "${writes[@]}" plain.qcow2 >make-images.log
qemu-img create -q -f qcow2 base.qcow2 16M
qemu-io -f qcow2 -c 'write -P 0x11 0 1M' base.qcow2 >>make-images.log
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2
qemu-io -f qcow2 -c 'write -P 0x22 512k 256k' -c 'write -z 768k 64k' overlay.qcow2 >>make-images.log
qemu-img convert -q -f qcow2 -O qcow2 -c plain.qcow2 compressed.qcow2
qemu-img convert -q -f qcow2 -O qcow2 -c -o compression_type=zstd plain.qcow2 zstd.qcow2
qemu-img create -q -f qcow2 snapshots.qcow2 1M
qemu-io -f qcow2 -c 'write -P 0x31 0 64k' snapshots.qcow2 >>make-images.log
qemu-img snapshot -c before snapshots.qcow2
qemu-io -f qcow2 -c 'write -P 0x32 0 64k' snapshots.qcow2 >>make-images.log
qemu-img snapshot -c after snapshots.qcow2
qemu-io -f qcow2 -c 'write -P 0x33 0 64k' snapshots.qcow2 >>make-images.log
qemu-img create -q -f qcow2 -o compat=0.10 v2.qcow2 1M
qemu-img create -q -f qcow2 empty.qcow2 64M
head -c 1048576 /dev/zero | tr '\0' 'Z' >raw.img
# The field l1_table_offset: bytes 40 to 47.
cp v2.qcow2 damaged.qcow2
printf '\x00\x00\x00\x7f\x00\x00\x00\x00' | dd of=damaged.qcow2 bs=1 seek=40 conv=notrunc status=none
