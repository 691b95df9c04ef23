#!/bin/bash
# promise: attach makes a block device, suspend and resume keep it, detach removes it and leaves a sound image
# also: nbd
# short: ublk nbd
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 100M
attach disk.qcow2 --name first
expect_equal "size" $((100 << 20)) "$(size_of "$DEV")"
expect_equal "read-only flag" 0 "$(blockdev --getro "$DEV")"
expect_equal "state" running "$(state_of first)"
expect_equal "device in status" "$DEV" "$(status_of first .device)"
expect_equal "transport in status" "$TRANSPORT" "$(status_of "$DEV" .kernel.transport)"
qcow2blk list >listed
expect_text "$DEV .*disk.qcow2" listed

head -c 3000000 /dev/urandom >data
dd if=data of="$DEV" bs=64k conv=fsync status=none
drop_caches
cmp -n 3000000 "$DEV" data

qcow2blk suspend "$DEV"
expect_equal "state" suspended "$(state_of first)"
check_image disk.qcow2
head -c 4096 data >piece
dd if=piece of="$DEV" bs=4k seek=1000 oflag=direct status=none &
writer=$!
sleep 1
kill -0 $writer || fail "a write ended while the device was suspended"
qcow2blk resume first
wait $writer
is_running first

detach disk.qcow2
[ ! -e "$DEV" ] || [ "$(size_of "$DEV")" = 0 ] || fail "$DEV is still there"
check_image disk.qcow2
qemu-img convert -O raw disk.qcow2 raw
cmp -n 3000000 raw data
cmp -n 4096 -i 4096000:0 raw piece
no_io_errors
