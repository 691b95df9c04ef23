#!/bin/bash
# promise: an error of the disk below the image reaches the request that met it, and only that one; the device stays usable
# seconds: 300
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
require_module dm-mod
require_module loop
# A file system on a mapped disk, a fully allocated image on it, and the mapping of one of its data clusters.
truncate -s 100M below.img
loop=$(losetup -f --show below.img)
sectors=$(blockdev --getsz "$loop")
dmsetup create below --table "0 $sectors linear $loop 0"
mkfs.ext4 -q -b 4096 -O ^has_journal /dev/mapper/below
mkdir below
mount /dev/mapper/below below
qemu-img create -q -f qcow2 -o preallocation=full below/disk.qcow2 24M
attach below/disk.qcow2
dd if=/dev/urandom of=data bs=1M count=24 status=none
dd if=data of="$DEV" bs=1M oflag=direct conv=fsync status=none
cluster=$(qemu-img map -U --output=json below/disk.qcow2 | jq '.[0].offset + 65536 * 300')
# Which block of the disk holds that place of the file.
block=$(filefrag -v -b4096 below/disk.qcow2 | awk -v want=$((cluster / 4096)) -F '[ :.]+' '
    $2 ~ /^[0-9]+$/ && want >= $3 && want <= $4 { print $5 + want - $3 }')
[ -n "$block" ] || fail "no extent holds $cluster: $(filefrag -v below/disk.qcow2)"
bad=$((block * 8))
guest=$((65536 * 300))

break_disk() {
    dmsetup suspend below
    dmsetup load below --table "0 $bad linear $loop 0
$bad 128 error
$((bad + 128)) $((sectors - bad - 128)) linear $loop $((bad + 128))"
    dmsetup resume below
}
mend_disk() {
    dmsetup suspend below
    dmsetup load below --table "0 $sectors linear $loop 0"
    dmsetup resume below
}

break_disk
dmesg --clear
expect_exit 1 dd if="$DEV" of=/dev/null bs=4k count=1 skip=$((guest / 4096)) iflag=direct
expect_text "Input/output error"
expect_exit 1 dd if=/dev/zero of="$DEV" bs=4k count=1 seek=$((guest / 4096)) oflag=direct
expect_text "Input/output error"
# The neighbours are well.
dd if="$DEV" bs=64k count=1 skip=299 iflag=direct status=none | cmp - <(dd if=data bs=64k count=1 skip=299 status=none)
dd if=data of="$DEV" bs=64k count=1 skip=301 seek=301 oflag=direct conv=notrunc status=none
errors=$(status_of "$DEV" .requests.errors)
[ "$errors" -ge 2 ] || fail "status counts $errors errors"
mend_disk
dd if="$DEV" bs=64k count=1 skip=300 iflag=direct status=none | cmp - <(dd if=data bs=64k count=1 skip=300 status=none)
dd if=data of="$DEV" bs=64k count=1 skip=300 seek=300 oflag=direct conv=notrunc,fsync status=none
fio_verify "$DEV" --bs=4k --size=4M
detach
check_image below/disk.qcow2
umount below
dmsetup remove below
losetup -d "$loop"
