#!/bin/bash
# promise: a backing file given at attach, and its format, are those of every later server: after a kill, an upgrade and a suspend
# seconds: 120
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image base.qcow2 16M
qemu-io -f qcow2 -c 'write -P 5 0 16M' base.qcow2 >/dev/null
make_image disk.qcow2 16M -u -b gone.qcow2 -F qcow2
# The extension of the format name becomes one that nobody knows.
printf '\x12\x34\x56\x78' | dd of=disk.qcow2 bs=1 seek=112 conv=notrunc status=none
qemu-io -r -f qcow2 -c 'read -P 5 0 1M' base.qcow2 >/dev/null
head -c 16M /dev/zero | tr '\0' '\5' >wanted.raw
mkdir moved
mv base.qcow2 moved/
expect_exit 1 qcow2blk attach --transport "$TRANSPORT" disk.qcow2 --backing moved/base.qcow2
expect_text 'backing-format'
attach disk.qcow2 --backing moved/base.qcow2 --backing-format qcow2 --nbd-timeout 5
check() {
    expect_equal "base" "$WORK/moved/base.qcow2 qcow2" "$(status_of "$DEV" '"\(.backing) \(."backing-format")"')"
    drop_caches
    cmp "$DEV" wanted.raw
}
check
kill_server "$DEV"
wait_for 60 is_running "$DEV"
check
qcow2blk upgrade "$DEV"
check
qcow2blk suspend "$DEV"
qcow2blk resume "$DEV"
check
detach
no_io_errors
