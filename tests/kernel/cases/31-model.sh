#!/bin/bash
# promise: random writes, FUA writes, flushes, discards, write zeroes with and without unmap leave exactly what they should
# also: nbd
# short: ublk
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
for block in 512 4096; do
    make_image disk.qcow2 12M
    attach disk.qcow2 --block-size $block
    python3 "$PAYLOAD/guest/model.py" "$DEV" 4 --expect wanted.raw
    settle # udev looks at what was written: a read of its that meets the end of the device is an I/O error
    detach
    check_image disk.qcow2
    qemu-img compare -q -f qcow2 -F raw disk.qcow2 wanted.raw
done
no_io_errors
