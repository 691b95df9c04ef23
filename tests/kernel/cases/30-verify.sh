#!/bin/bash
# promise: fio reads back what it wrote, at every block size, plain, synced and trimmed
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 256M
attach disk.qcow2 --block-size 512
fio_verify "$DEV" --bs=512 --size=1M
fio_verify "$DEV" --bs=4k --size=1M
fio_verify "$DEV" --bs=64k --size=4M
fio_verify "$DEV" --bs=1M --size=8M
fio_verify "$DEV" --bsrange=512-256k --size=4M
fio_verify "$DEV" --bs=4k --size=512k --sync=dsync
fio_verify "$DEV" --bs=4k --size=1M --fdatasync=8
fio_run trimwrite --filename="$DEV" --rw=trimwrite --verify=crc32c --bs=64k --size=8M
fio_run trim --filename="$DEV" --rw=randtrim --bs=64k --size=8M
cmp -n $((8 << 20)) "$DEV" /dev/zero
fio_verify "$DEV" --bs=4k --size=1M --numjobs=2 --offset_increment=64M
detach
check_image disk.qcow2
attach disk.qcow2 --block-size 4096
fio_verify "$DEV" --bs=4k --size=1M
fio_verify "$DEV" --bs=128k --size=4M
detach
check_image disk.qcow2
no_io_errors
