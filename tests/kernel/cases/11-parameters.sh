#!/bin/bash
# promise: the kernel is told the block size, limits, cache and write protection that the image and the options ask for
# also: nbd
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 64M -o cluster_size=128k
for block in 512 4096; do
    attach disk.qcow2 --block-size $block
    expect_equal "logical block size" $block "$(blockdev --getss "$DEV")"
    expect_equal "write cache" "write back" "$(queue_limit write_cache)"
    expect_equal "FUA" 1 "$(queue_limit fua)"
    [ "$(queue_limit discard_max_bytes)" -gt 0 ] || fail "no discard"
    expect_equal "rotational" 0 "$(queue_limit rotational)"
    if [ "$TRANSPORT" = ublk ]; then
        [ "$(queue_limit write_zeroes_max_bytes)" -gt 0 ] || fail "no write zeroes"
        expect_equal "discard granularity" 131072 "$(queue_limit discard_granularity)"
        expect_equal "optimal I/O size" 131072 "$(queue_limit optimal_io_size)"
    fi
    dd if=/dev/urandom of="$DEV" bs=$block count=3 seek=1 oflag=direct status=none
    detach
done
attach disk.qcow2 --read-only
expect_equal "read-only flag" 1 "$(blockdev --getro "$DEV")"
expect_exit 1 dd if=/dev/zero of="$DEV" bs=4k count=1 oflag=direct
detach
# A size that is not a multiple of 4096 cannot have such blocks: refused or cut, never a device that fails at its end.
qemu-img create -q -f qcow2 odd.qcow2 $(((1 << 20) + 512))
attach odd.qcow2 --block-size 512
expect_equal "size" $(((1 << 20) + 512)) "$(size_of "$DEV")"
dd if=/dev/urandom of="$DEV" bs=512 seek=2048 count=1 oflag=direct status=none
detach
check_image odd.qcow2
