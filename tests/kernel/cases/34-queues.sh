#!/bin/bash
# promise: one queue, many queues and shallow ones all serve parallel load
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 128M
for options in "--queues 1" "--queues 2" "--queues 4"; do
    # shellcheck disable=SC2086
    attach disk.qcow2 $options
    fio_verify "$DEV" --bs=4k --size=2M --numjobs=2 --offset_increment=32M
    detach
done
if [ "$TRANSPORT" = ublk ]; then
    attach disk.qcow2 --depth 2 --queues 2
    fio_verify "$DEV" --bs=16k --size=2M --numjobs=2 --offset_increment=32M
    detach
fi
check_image disk.qcow2
