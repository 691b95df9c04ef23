#!/bin/bash
# promise: an image that grew while suspended under load has its new size at the device, and the file system uses it
# also: nbd
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 64M
attach disk.qcow2
if [ "$TRANSPORT" = ublk ] && ! python3 "$PAYLOAD/guest/ublk_features.py" UPDATE_SIZE; then
    # The kernel cannot: resume says so and how to get the new size, the device goes on with the old one.
    qcow2blk suspend "$DEV"
    qemu-img resize -q disk.qcow2 96M
    status=0
    qcow2blk resume "$DEV" >output 2>&1 || status=$?
    note "resume ($status): $(cat output)"
    expect_text "attach|size" output
    expect_equal "size" $((64 << 20)) "$(size_of "$DEV")"
    fio_verify "$DEV" --bs=4k --size=1M
    detach
    attach disk.qcow2
    expect_equal "size after another attach" $((96 << 20)) "$(size_of "$DEV")"
    detach
    exit 0
fi
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
dd if=/dev/zero of=mnt/load bs=1M count=24 status=none
start_load mnt/load 20M
for size in 96 160; do
    qcow2blk suspend "$DEV"
    qemu-img resize -q disk.qcow2 ${size}M
    qcow2blk resume "$DEV"
    expect_equal "size" $((size << 20)) "$(size_of "$DEV")"
    resize2fs "$DEV" >resize.log 2>&1 || fail "resize2fs: $(cat resize.log)"
    sleep 1
done
finish_load
fill_tree mnt
dd if=/dev/urandom of=mnt/beyond bs=1M count=90 conv=fsync status=none
umount mnt
check_fs ext4 "$DEV"
detach
check_image disk.qcow2
no_io_errors
