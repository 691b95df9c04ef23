#!/bin/bash
# promise: discard and write zeroes with unmap give the space back to the host's file system, without a leak
# also: nbd
# short: ublk
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
uses_at_most() { # KIB, once what was freed is committed
    sync "$DEV"
    [ "$(used)" -le "$1" ]
}
used() { echo $(($(stat -c '%b * %B' disk.qcow2) / 1024)); }
make_image disk.qcow2 256M
attach disk.qcow2
empty=$(used)
dd if=/dev/urandom of="$DEV" bs=1M count=64 oflag=direct status=none
full=$(used)
[ "$full" -ge $((64 * 1024)) ] || fail "64 MiB were written and the file takes $full KiB"
blkdiscard -o 0 -l 32M "$DEV"
wait_for 10 uses_at_most $((full - 31 * 1024))
cmp -n $((32 << 20)) "$DEV" /dev/zero
if [ "$(queue_limit write_zeroes_max_bytes)" -gt 0 ]; then
    fallocate --punch-hole -o 32M -l 32M "$DEV"
else
    note "no write zeroes in this kernel's $TRANSPORT: discard instead"
    blkdiscard -o 32M -l 32M "$DEV"
fi
wait_for 10 uses_at_most $((empty + 2048))
make_fs ext4 "$DEV"
mkdir -p mnt
mount -o discard "$DEV" mnt
dd if=/dev/urandom of=mnt/file bs=1M count=64 conv=fsync status=none
full=$(used)
rm mnt/file
sync
fstrim mnt
wait_for 10 uses_at_most $((full - 60 * 1024))
umount mnt
detach
check_image disk.qcow2
note "KiB: empty $empty, full $full, at the end $(used)"
