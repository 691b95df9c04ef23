#!/bin/bash
# promise: the verb resize makes an attached disk larger: the device has the new size, or says how to get it
# seconds: 200
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 64M
attach disk.qcow2
status=0
qcow2blk resize "$DEV" +32M >output 2>&1 || status=$?
note "resize ($status): $(cat output)"
expect_equal "size of the disk" $((96 << 20)) "$(status_of "$DEV" .geometry.size)"
if [ "$TRANSPORT" = ublk ] && ! python3 "$PAYLOAD/guest/ublk_features.py" UPDATE_SIZE; then
    expect_text "attach|size" output
    detach
    attach disk.qcow2
fi
expect_equal "size of the device" $((96 << 20)) "$(size_of "$DEV")"
dd if=/dev/urandom of=new bs=1M count=4 status=none
dd if=new of="$DEV" bs=1M seek=92 conv=notrunc,fsync status=none
drop_caches
dd if="$DEV" of=old bs=1M skip=92 count=4 status=none
cmp new old
detach
check_image disk.qcow2
