#!/bin/bash
# promise: a suspended device holds requests of a mounted file system for as long as it takes, also past the timeout, without an error
# also: nbd
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 512M
attach disk.qcow2 --nbd-timeout 5
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
qcow2blk suspend "$DEV"
(
    cd mnt
    dd if=/dev/zero of=buffered bs=1M count=50 conv=fsync status=none
    dd if=/dev/zero of=direct bs=64k count=64 oflag=direct status=none
) &
writer=$!
sleep 13
kill -0 $writer || fail "writes ended while the device was suspended"
qcow2blk resume "$DEV"
wait $writer
cmp mnt/direct <(head -c 4M /dev/zero)
umount mnt
check_fs ext4 "$DEV"
detach
check_image disk.qcow2
no_io_errors
