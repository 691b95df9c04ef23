#!/bin/bash
# promise: the machine is what the other cases expect
# transports: any
# short: any
. "$PAYLOAD/guest/lib.sh"
qcow2blk --version
for program in qemu-img qemu-io fio mkfs.ext4 e2fsck mkfs.xfs xfs_repair sfdisk blkid lsblk fsfreeze dmsetup losetup jq strace; do
    command -v $program >/dev/null || fail "$program is not in the root disk"
done
expect_equal "processors" 2 "$(nproc)"
