#!/bin/bash
# promise: what the kernel lacks is named: a transport that is not there, an index that is taken
# transports: any
# short: any
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
make_image third.qcow2 16M
TRANSPORT=nbd attach disk.qcow2 --device /dev/nbd3
expect_equal "device" /dev/nbd3 "$DEV"
expect_exit 4 qcow2blk attach --transport nbd third.qcow2 --device /dev/nbd3
detach
