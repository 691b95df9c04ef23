#!/bin/bash
# promise: a disk without a whole block is refused in words, a tail that is cut off is warned of in bytes, over each transport alike
# also: nbd
# short: ublk
# processors: 1
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
refused() { # IMAGE BYTES BLOCK
    expect_exit 1 qcow2blk attach "$1" --transport "$TRANSPORT" --block-size "$3"
    expect_text "^qcow2blk: cannot attach [^ ]*$1: the disk has $2 bytes: a block device needs at least one block of $3 bytes \("
    expect_equal "lines" 1 "$(wc -l <output)"
}
sizes() {
    local block
    for block in 512 4096; do
        refused empty.qcow2 0 $block
    done
    refused tiny.qcow2 512 4096
    attach tiny.qcow2 --block-size 512
    expect_equal "size" 512 "$(size_of "$DEV")"
    dd if=/dev/urandom of=sector bs=512 count=1 status=none
    dd if=sector of="$DEV" bs=512 count=1 oflag=direct status=none
    cmp sector <(dd if="$DEV" bs=512 count=1 iflag=direct status=none)
    detach

    attach odd.qcow2 --block-size 4096 2>output
    expect_text "warning: the last 1024 bytes of the disk are not a whole block of 4096:"\
" the block device ends before them, at 1024000000 bytes$"
    expect_equal "size" 1024000000 "$(size_of "$DEV")"
    dd if=/dev/urandom of="$DEV" bs=4096 seek=$((250000 - 1)) count=1 oflag=direct status=none
    detach
    attach odd.qcow2 --block-size 512 2>output
    expect_equal "warnings" "" "$(cat output)"
    expect_equal "size" 1024001024 "$(size_of "$DEV")"
    detach
}
make_image empty.qcow2 0
make_image tiny.qcow2 512
make_image odd.qcow2 1024001024
sizes
if [ "$TRANSPORT" = nbd ]; then
    note "by ioctl"
    export QCOW2BLK_NBD_NETLINK=off
    refused empty.qcow2 0 512
    refused tiny.qcow2 512 4096
    attach odd.qcow2 --block-size 4096 2>output
    expect_text "the last 1024 bytes of the disk"
    expect_equal "size" 1024000000 "$(size_of "$DEV")"
    detach
    unset QCOW2BLK_NBD_NETLINK
fi

# The size of a device that is there keeps to whole blocks too, and what can no longer be one stays suspended.
attach odd.qcow2 --block-size 4096 2>/dev/null
qcow2blk suspend "$DEV"
qemu-img resize -q odd.qcow2 $((1024001024 + 4096))
qcow2blk resume "$DEV" >output 2>&1
expect_text "the last 1024 bytes of the disk"
case "$(size_of "$DEV")" in
    1024004096) ;;
    1024000000) grep -q "attach" output || fail "the size is the old one, and nobody was told: $(cat output)" ;;
    *) fail "size $(size_of "$DEV")" ;;
esac
qcow2blk suspend "$DEV"
qemu-img resize -q --shrink odd.qcow2 512
expect_exit 1 qcow2blk resume "$DEV" --allow-shrink
expect_text "the disk has 512 bytes: a block device needs at least one block of 4096 bytes"
expect_equal "state" suspended "$(state_of "$DEV")"
qemu-img resize -q odd.qcow2 1024001024
qcow2blk resume "$DEV" --allow-shrink >output 2>&1
is_running "$DEV"
detach

# An NBD socket serves a disk of any size, none too.
qcow2blk attach empty.qcow2 --socket "$PWD/s" >/dev/null
expect_equal "size over NBD" 0 "$(nbdinfo --size "nbd+unix:///?socket=$PWD/s")"
detach empty
check_image tiny.qcow2
