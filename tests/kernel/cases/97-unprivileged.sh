#!/bin/bash
# promise: with the sample udev rule a member of its group has ublk devices of his own, and nobody else's
# transports: ublk
# short: ublk
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
require_feature UBLK_F_UNPRIVILEGED_DEV
cp /etc/group group
echo "ublk:x:999:tester" >>group
mount --bind group /etc/group
undo() {
    rm -f /run/udev/rules.d/61-ublk-unprivileged.rules
    udevadm control --reload
    umount /etc/group
    chown root: /dev/ublk-control
    chmod 600 /dev/ublk-control
}
CLEANUP=undo
cp "$PAYLOAD/udev/61-ublk-unprivileged.rules.sample" /run/udev/rules.d/61-ublk-unprivileged.rules
sed -i "s,@bindir@,$(dirname "$(command -v qcow2blk)")," /run/udev/rules.d/61-ublk-unprivileged.rules
udevadm control --reload
udevadm trigger --settle --action=add --sysname-match=ublk-control
expect_equal "owner of the control node" "root:ublk 660" "$(stat -c '%U:%G %a' /dev/ublk-control)"

chmod 711 /data "$WORK"
mkdir -m 700 run home
chown tester: run home
as_tester() { setpriv --reuid=tester --regid=tester --groups 999 env QCOW2BLK_RUNTIME_DIR="$WORK/run" HOME="$WORK/home" "$@"; }
as_tester qemu-img create -q -f qcow2 home/disk.qcow2 64M
DEV=$(as_tester qcow2blk attach --transport ublk "$WORK/home/disk.qcow2")
settle
expect_equal "owner of the device" "tester 600" "$(stat -c '%U %a' "$DEV")"
expect_equal "mode" map "$(as_tester qcow2blk status --json "$DEV" | jq -r '.kernel."ublk-mode"')"
head -c 1000000 /dev/urandom >data
chmod 644 data
as_tester dd if=data of="$DEV" bs=64k conv=fsync status=none
cmp -n 1000000 data <(as_tester head -c 1000000 "$DEV")
as_tester qcow2blk suspend "$DEV"
as_tester qemu-img snapshot -c one home/disk.qcow2
as_tester qcow2blk resume "$DEV"
as_tester dd if=/dev/zero of="$DEV" bs=64k count=4 conv=fsync status=none

# The device of root is root's.
make_image other.qcow2 16M
mine=$DEV
attach other.qcow2
expect_exit 1 as_tester dd if="$DEV" of=/dev/null count=1
expect_equal "owner of root's device" root "$(stat -c %U "$DEV")"
detach
as_tester qcow2blk detach "$mine"
check_image home/disk.qcow2
no_io_errors
