#!/bin/bash
# promise: a base of an NBD server is fetched once and kept; while its server is away, reads of the device wait for it
# short: ublk
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
# All of it is data: a hole is read without the source.
dd if=/dev/urandom of=base.raw bs=1M count=32 status=none
qemu-img convert -O qcow2 base.raw base.qcow2
export QCOW2BLK_CACHE_DIR=$WORK/cache
store() { qcow2blk attach base.qcow2 --format raw --read-only --name store --socket "$WORK/store.sock" >/dev/null; }
store
qcow2blk create top.qcow2 32M --backing "nbd+unix:///?socket=$WORK/store.sock" --backing-format qcow2
attach top.qcow2 --allow-remote-backing --unverified
cmp "$DEV" base.raw
drop_caches
cmp "$DEV" base.raw
fetched=$(status_of "$DEV" '.bases[0]["fetched-bytes"]')
[ "$fetched" -le "$(stat -c %s base.qcow2)" ] || fail "$fetched bytes were fetched of $(stat -c %s base.qcow2)"
dd if=/dev/urandom of=new bs=64k count=8 status=none
dd if=new of="$DEV" bs=64k seek=40 conv=notrunc,fsync status=none
dd if=new of=base.raw bs=64k seek=40 conv=notrunc status=none
drop_caches
cmp "$DEV" base.raw
detach

# With another cache nothing is here yet.
export QCOW2BLK_CACHE_DIR=$WORK/empty
attach top.qcow2 --allow-remote-backing --unverified
# What udev reads, at the start of the disk and at its end, is fetched first, and what is read ahead of that (8 MiB at most).
settle
qcow2blk detach store
dd if="$DEV" of=late bs=64k skip=320 count=1 iflag=direct status=none &
reader=$!
is_waiting() { [ "$(state_of "$DEV")" = waiting-for-source ]; }
wait_for 20 is_waiting
kill -0 $reader || fail "the read did not wait"
store
wait $reader
dd if=base.raw of=expected bs=64k skip=320 count=1 status=none
cmp late expected
cmp "$DEV" base.raw
detach
qcow2blk detach store
