#!/bin/bash
# promise: two devices over one base are independent; the base is only read and refused to writers
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image base.qcow2 128M
attach base.qcow2
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
fill_tree mnt
umount mnt
detach
sha256sum base.qcow2 >base.sha
make_image left.qcow2 128M -b base.qcow2 -F qcow2
make_image right.qcow2 128M -b base.qcow2 -F qcow2
attach left.qcow2
left=$DEV
attach right.qcow2
right=$DEV
expect_exit 4 qcow2blk attach --transport "$TRANSPORT" base.qcow2
expect_exit 4 qcow2blk attach --transport "$TRANSPORT" left.qcow2
mkdir l r
mount "$left" l
mount "$right" r
check_tree l
check_tree r
rm -rf l/email
echo right >r/file
sync
umount l r
check_fs ext4 "$left"
check_fs ext4 "$right"
detach "$left" "$right"
check_image left.qcow2
check_image right.qcow2
sha256sum --quiet -c base.sha
