#!/bin/bash
# promise: the same over a backing file with compressed clusters, and with snapshots that must not change
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
cat /usr/lib/python3*/*.py /usr/bin/qemu-img /usr/bin/fio >base.raw
truncate -s 5M base.raw
truncate -s 24M base.raw
qemu-img convert -c -O qcow2 base.raw base.qcow2
sha256sum base.qcow2 >base.sha
make_image top.qcow2 24M -b base.qcow2 -F qcow2
attach top.qcow2
cmp "$DEV" base.raw
drop_caches
dd if=/dev/urandom of="$DEV" bs=12345 count=300 seek=7 conv=notrunc,fsync status=none
qcow2blk suspend "$DEV"
qemu-img snapshot -c kept top.qcow2
qemu-img convert -O raw -l kept top.qcow2 kept.raw
qcow2blk resume "$DEV"
python3 "$PAYLOAD/guest/model.py" "$DEV" 5 --expect wanted.raw
detach
check_image top.qcow2
qemu-img compare -q -f qcow2 -F raw top.qcow2 wanted.raw
qemu-img convert -O raw -l kept top.qcow2 again.raw
cmp kept.raw again.raw
sha256sum --quiet -c base.sha
