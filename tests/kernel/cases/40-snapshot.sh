#!/bin/bash
# promise: qemu-img takes snapshots of a suspended device under load; no request fails, snapshots hold one moment
# short: ublk
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 256M
attach disk.qcow2
start_load "$DEV" 24M
for number in 1 2 3; do
    qcow2blk suspend "$DEV"
    qemu-img snapshot -c "s$number" disk.qcow2
    qemu-img snapshot -l disk.qcow2 | grep -q "s$number"
    [ $number != 3 ] || qemu-img snapshot -d s1 disk.qcow2
    check_image disk.qcow2
    qcow2blk resume "$DEV"
    sleep 1
done
load_is_running || note "the load ended before the last snapshot"
finish_load
note "longest pause $(longest_pause) ms"
detach
check_image disk.qcow2
qemu-img convert -O raw -l s2 disk.qcow2 s2.raw
no_io_errors
