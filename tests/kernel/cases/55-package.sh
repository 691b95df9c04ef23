#!/bin/bash
# promise: a mounted device under load survives the upgrade of the package, and the package cannot be removed under it
# short: ublk
# seconds: 400
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
require_module overlay
OLD=$PAYLOAD/files/qcow2blk-old.deb NEW=$PAYLOAD/files/qcow2blk-new.deb
[ -e "$OLD" ] && [ -e "$NEW" ] || fail "no packages to install: run the cases by \"make test-kernel\""

# The root disk is read-only: what dpkg writes goes to the data disk.
undo() {
    umount -l /etc /usr
    rm -rf /var/lib/dpkg
    udevadm control --reload
}
CLEANUP=undo
for place in usr etc; do
    mkdir -p $place.upper $place.work
    mount -t overlay -o "lowerdir=/$place,upperdir=$WORK/$place.upper,workdir=$WORK/$place.work" overlay /$place
done
mkdir -p /var/lib/dpkg/{info,updates}
printf '%s\n' 'Package: libc6' 'Status: install ok installed' 'Architecture: amd64' 'Version: 2.36' \
    'Maintainer: none <none@localhost>' 'Description: none' >/var/lib/dpkg/status
# Folders that are not qcow2blk's alone, so that dpkg does not try to remove them.
printf '/.\n/etc\n/usr\n/usr/bin\n/usr/lib\n/usr/share\n/var\n/var/cache\n' >/var/lib/dpkg/info/libc6.list
# What is tried is the program of the package.
PATH=/usr/sbin:/usr/bin
dpkg -i "$OLD" >dpkg.log 2>&1 || fail "$(cat dpkg.log)"
make_image disk.qcow2 256M
attach disk.qcow2
settle
expect_equal "name by the package's udev rule" "$DEV" "$(readlink -f /dev/qcow2blk/disk)"
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
fill_tree mnt
fio --name=load --output=load.fio --directory=mnt --ioengine=libaio --direct=1 --iodepth=8 --rw=randwrite --bs=4k --size=8M \
    --verify=crc32c --verify_fatal=1 --verify_state_save=0 --randrepeat=0 &
LOAD=$!
sleep 1

note "upgraded: the server continues with the old program, and dpkg says so"
before=$(server_pid)
dpkg -i "$NEW" >dpkg.log 2>&1 || fail "$(cat dpkg.log)"
expect_text "continue with the program that they were started with" dpkg.log
expect_text "disk +running +$DEV" dpkg.log
expect_equal "server" "$before" "$(server_pid)"
expect_text "deleted" <(readlink "/proc/$before/exe")

note "the server dies: the device is taken over, although its program is no longer there under its name"
kill_server
wait_for 60 is_running "$DEV"

note "changed to the new program while in use"
qcow2blk upgrade "$DEV"
expect_equal "program" /usr/bin/qcow2blk "$(readlink "/proc/$(server_pid)/exe")"
finish_load
drop_caches
check_tree mnt

note "removal is refused while the device is attached"
status=0
dpkg -r qcow2blk >dpkg.log 2>&1 || status=$?
[ $status -ne 0 ] || fail "the package was removed: $(cat dpkg.log)"
expect_text "cannot be removed: these devices are attached" dpkg.log
expect_text 'detach each by "qcow2blk detach NAME"' dpkg.log
echo after >mnt/after
sync mnt/after
umount mnt
check_fs ext4 "$DEV"
detach
settle
dpkg -r qcow2blk >dpkg.log 2>&1 || fail "$(cat dpkg.log)"
[ ! -e /usr/bin/qcow2blk ] || fail "the program is still there"
check_image disk.qcow2
no_io_errors
PATH=$PAYLOAD/bin:$PATH
