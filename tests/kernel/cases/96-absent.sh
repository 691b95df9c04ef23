#!/bin/bash
# promise: what the kernel lacks is named: a transport that is not there, an index that is taken
# transports: any
# short: any
# processors: 1
. "$PAYLOAD/guest/lib.sh"
make_image disk.qcow2 16M
if ! modprobe ublk_drv 2>/dev/null; then
    expect_exit 1 qcow2blk attach --transport ublk disk.qcow2
    note "$(cat output)"
    expect_text "ublk"
    expect_text "6\\.0|module|kernel"
else
    make_image other.qcow2 16M
    TRANSPORT=ublk attach disk.qcow2 --device /dev/ublkb7
    expect_equal "device" /dev/ublkb7 "$DEV"
    TRANSPORT=ublk expect_exit 4 qcow2blk attach --transport ublk other.qcow2 --device /dev/ublkb7
    detach
fi
verdict() { qcow2blk doctor --json | jq -r ".findings[] | select(.what == \"$1\").verdict" || true; }
expect_equal "doctor of the NBD driver" ok "$(verdict "kernel nbd")"
if [ -e /dev/ublk-control ]; then
    expect_equal "doctor of ublk" ok "$(verdict ublk)"
    mv /dev/ublk-control /dev/ublk-elsewhere
    [ "$(verdict ublk)" != ok ] || fail "doctor does not see that /dev/ublk-control is missing"
    mv /dev/ublk-elsewhere /dev/ublk-control
fi
make_image third.qcow2 16M
TRANSPORT=nbd attach disk.qcow2 --device /dev/nbd3
expect_equal "device" /dev/nbd3 "$DEV"
expect_exit 4 qcow2blk attach --transport nbd third.qcow2 --device /dev/nbd3
expect_text "/dev/nbd3 is in use"
detach

# udev opens every node for a moment when the driver is loaded; the kernel makes no device of one that is open.
sleep 2 </dev/nbd5 &
TRANSPORT=nbd attach disk.qcow2 --device /dev/nbd5
expect_equal "device" /dev/nbd5 "$DEV"
detach
sleep 60 </dev/nbd6 &
expect_exit 4 qcow2blk attach --transport nbd third.qcow2 --device /dev/nbd6
expect_text "/dev/nbd6 is open in sleep \\(pid $!\\)"
kill $!
