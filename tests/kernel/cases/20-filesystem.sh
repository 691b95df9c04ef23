#!/bin/bash
# promise: ext4 and xfs are made, mounted, filled, found again after another attach, and clean
# short: ublk
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
for type in ext4 xfs; do
    require_module $type
    make_image $type.qcow2 2G
    attach $type.qcow2
    make_fs $type "$DEV"
    mount_fs $type "$DEV"
    fill_tree mnt
    umount mnt
    check_fs $type "$DEV"
    detach
    check_image $type.qcow2

    attach $type.qcow2
    mount_fs $type "$DEV"
    check_tree mnt
    rm -rf mnt/asyncio
    fstrim mnt
    umount mnt
    check_fs $type "$DEV"
    detach
    check_image $type.qcow2
done
no_io_errors
