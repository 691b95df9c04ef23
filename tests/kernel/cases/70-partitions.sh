#!/bin/bash
# promise: partitions appear, at once and at the next attach; blkid, lsblk and the stable name see the device
# short: ublk
. "$PAYLOAD/guest/lib.sh"
require_transport
partition() { case $DEV in *[0-9]) echo "${DEV}p$1" ;; *) echo "$DEV$1" ;; esac; }
install_rules
make_image disk.qcow2 512M
attach disk.qcow2 --name parted
printf 'label: gpt\nsize=100M\nsize=200M\n' | sfdisk -q "$DEV"
wait_for 10 test -b "$(partition 2)"
mkfs.ext4 -q -L first "$(partition 1)"
mkfs.ext4 -q -L second "$(partition 2)"
detach

attach disk.qcow2 --name parted
wait_for 10 test -b "$(partition 2)"
settle
expect_equal "label" second "$(blkid -p -s LABEL -o value "$(partition 2)")"
lsblk -ln -o NAME,TYPE,SIZE "$DEV" >listed
expect_text "$(basename "$DEV") +disk +512M" listed
expect_text "$(basename "$(partition 2)") +part +200M" listed
expect_equal "stable name" "$DEV" "$(readlink -f /dev/qcow2blk/parted)"
expect_equal "stable name of a partition" "$(partition 1)" "$(readlink -f /dev/qcow2blk/parted-part1)"
mkdir -p mnt
mount "$(partition 1)" mnt
expect_exit 4 qcow2blk detach "$DEV"
umount mnt
detach
settle
[ ! -e /dev/qcow2blk/parted ] || fail "/dev/qcow2blk/parted is left"
check_image disk.qcow2
