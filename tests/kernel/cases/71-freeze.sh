#!/bin/bash
# promise: with fsfreeze before suspend, a snapshot holds a clean file system
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 256M
attach disk.qcow2
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
fill_tree mnt
fsfreeze --freeze mnt
qcow2blk suspend "$DEV"
qemu-img snapshot -c clean disk.qcow2
qcow2blk resume "$DEV"
fsfreeze --unfreeze mnt
rm -rf mnt/email
umount mnt
detach
qemu-img convert -O raw -l clean disk.qcow2 clean.raw
check_fs ext4 clean.raw
attach disk.qcow2 --snapshot clean
expect_equal "read-only flag" 1 "$(blockdev --getro "$DEV")"
mkdir -p mnt
mount -o ro "$DEV" mnt
check_tree mnt
umount mnt
detach
