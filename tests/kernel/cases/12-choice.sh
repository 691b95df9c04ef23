#!/bin/bash
# promise: attach without options takes ublk where it can, else kernel NBD, and says so when asked
# transports: any
# short: any
# processors: 1
. "$PAYLOAD/guest/lib.sh"
make_image disk.qcow2 16M
if modprobe ublk_drv 2>/dev/null; then wanted=ublk; else wanted=nbd; fi
device=$(qcow2blk attach --log-level info disk.qcow2 2>messages) || fail "attach: $(cat messages)"
note "chose $device: $(grep -i -m1 "$wanted" messages || true)"
case $wanted:$device in
    ublk:/dev/ublkb0 | nbd:/dev/nbd0) ;;
    *) fail "attached as $device where $wanted is there" ;;
esac
[ -s messages ] || fail "--log-level info said nothing about the transport"
expect_text "$wanted" messages
[ $wanted = ublk ] || expect_text ublk messages # why it is not used
qcow2blk detach "$device"
# Without info, standard error stays empty.
device=$(qcow2blk attach disk.qcow2 2>messages)
[ ! -s messages ] || fail "attach said: $(cat messages)"
qcow2blk detach "$device"
