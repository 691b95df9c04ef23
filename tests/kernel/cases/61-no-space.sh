#!/bin/bash
# promise: a full file system below the image fails writes with "no space" and nothing else, or holds them until there is some, as asked
# seconds: 300
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
mkdir small
mount -t tmpfs -o size=24M small small
make_image small/disk.qcow2 64M
attach small/disk.qcow2 --on-enospc report
expect_exit 1 dd if=/dev/urandom of="$DEV" bs=1M count=40 oflag=direct
expect_text "No space left|Input/output error"
dd if="$DEV" of=/dev/null bs=1M count=4 iflag=direct status=none
# With space again, the device goes on as if nothing had been.
mount -o remount,size=80M small
dd if=/dev/urandom of="$DEV" bs=1M count=40 oflag=direct conv=fsync status=none
detach
check_image small/disk.qcow2
rm small/disk.qcow2
mount -o remount,size=24M small

make_image small/disk.qcow2 64M
attach small/disk.qcow2 --on-enospc stop
dd if=/dev/urandom of="$DEV" bs=1M count=40 oflag=direct status=none &
writer=$!
wait_for 20 bash -c "[ \"\$(qcow2blk status --json '$DEV' | jq '.requests[\"waiting-for-space\"]')\" -gt 0 ]"
sleep 1
kill -0 $writer || fail "the write ended without space"
mount -o remount,size=64M small
wait $writer
detach
check_image small/disk.qcow2
umount small
