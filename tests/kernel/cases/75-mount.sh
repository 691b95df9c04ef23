#!/bin/bash
# promise: mount -t qcow2 attaches and mounts the only file system or a partition, umount leaves a complete image, a failed mount nothing
# short: ublk
# also: nbd
# seconds: 500
. "$PAYLOAD/guest/lib.sh"
require_transport
mkdir -p mnt other

mount_image() { # IMAGE DIR [OPTIONS]: with $TRANSPORT
    mount -t qcow2 -o "transport=$TRANSPORT,nbd-timeout=2${3:+,$3}" "$1" "$2"
}

source_of() { findmnt -n -o SOURCE "$1"; }

is_detached() { [ "$(qcow2blk list --json)" = "[]" ]; }

# umount returns when the image is closed: nothing waits here.
unmount() {
    umount "$@"
    is_detached || fail "umount $* left a device: $(qcow2blk list)"
}

make_image disk.qcow2 256M
attach disk.qcow2
mkfs.ext4 -q "$DEV"
detach

note "read-write, and umount by the directory"
mount_image disk.qcow2 mnt noatime,cache=writeback,name=data
DEV=$(source_of mnt)
expect_equal "device" "$DEV" "$(status_of data .device)"
expect_equal "state" running "$(status_of data .state)"
expect_equal "cache" writeback "$(jq -r .options.cache /run/qcow2blk/data.json)"
grep -q "^$DEV $WORK/mnt ext4 rw,noatime" /proc/mounts
fill_tree mnt
unmount mnt
check_image disk.qcow2
check_fs_of() { attach "$1" --read-only; check_fs ext4 "$DEV"; detach; }
check_fs_of disk.qcow2

note "umount without the helper, and of a name in another namespace: the device goes by itself"
mount_image disk.qcow2 mnt
check_tree mnt
umount -i mnt
wait_for 20 is_detached
mount_image disk.qcow2 mnt
unshare --mount --propagation private sleep 120 &
other=$!
sleep 1
umount mnt
sleep 1
! is_detached || fail "detached while another mount namespace had it mounted"
kill $other
wait $other || true
wait_for 20 is_detached

note "a second mount uses the device that is there; the last umount ends it"
mount_image disk.qcow2 mnt
mount_image disk.qcow2 other
expect_equal "device" "$(source_of mnt)" "$(source_of other)"
expect_exit 0 mount -t qcow2 disk.qcow2 other
expect_text "already mounted on $WORK/other"
expect_equal "mounts" 2 "$(grep -c "$WORK" /proc/mounts)"
expect_exit 32 mount -t qcow2 -o cache-size=64M disk.qcow2 other2
expect_text "attached as disk .*cache-size="
umount mnt
check_tree other
unmount other

note "a device that was attached by hand stays when it is unmounted"
attach disk.qcow2 --name byhand
mount -t qcow2 disk.qcow2 mnt
expect_equal "device" "$DEV" "$(source_of mnt)"
umount mnt
sleep 2
expect_equal "state" running "$(status_of byhand .state)"
detach

note "read-only, and a snapshot"
qemu-img snapshot -c before disk.qcow2
mount_image disk.qcow2 mnt ro
expect_equal "read-only flag" 1 "$(blockdev --getro "$(source_of mnt)")"
expect_exit 32 mount -t qcow2 disk.qcow2 other
expect_text "attached read-only"
expect_exit 32 mount -o remount,rw mnt
check_tree mnt
unmount mnt
mount_image disk.qcow2 mnt
rm mnt/large
mount -o remount,ro mnt
grep -q "$WORK/mnt ext4 ro" /proc/mounts
mount -o remount,rw mnt
unmount mnt
mount_image disk.qcow2 mnt snapshot=before
check_tree mnt
unmount mnt

note "what fails leaves nothing attached"
expect_exit 32 mount_image disk.qcow2 mnt nosuchoption=1
is_detached
expect_exit 32 mount_image disk.qcow2 nowhere
is_detached
expect_exit 32 mount_image disk.qcow2 mnt partition=1
expect_text "cannot mount $WORK/disk.qcow2: the disk has no partitions"
is_detached
expect_exit 1 mount_image disk.qcow2 mnt cache=fast
expect_exit 32 mount_image absent.qcow2 mnt
expect_text "no such file"
mount_image absent.qcow2 mnt nofail
make_image empty.qcow2 64M
expect_exit 32 mount_image empty.qcow2 mnt
expect_text "no file system was found on the disk itself"
is_detached
qemu-io -c 'sleep 60000' disk.qcow2 >/dev/null &
holder=$!
wait_for 30 is_locked disk.qcow2
expect_exit 32 mount_image disk.qcow2 mnt
expect_text "in use by qemu-io"
kill $holder
wait $holder || true
is_detached

note "partitions"
make_image parted.qcow2 512M
attach parted.qcow2
printf 'label: gpt\nsize=100M\nsize=300M\n' | sfdisk -q "$DEV"
wait_for 10 test -b "${DEV}p2"
mkfs.ext4 -q -L "the first" "${DEV}p1"
mkfs.xfs -q "${DEV}p2"
detach
expect_exit 32 mount_image parted.qcow2 mnt
expect_text 'it has 2 file systems: partition 1 \(ext4, 100 MiB, "the first"\), partition 2 \(xfs, 300 MiB\) \(choose one'
expect_exit 32 mount_image parted.qcow2 mnt partition=3
expect_text "no partition 3, only 1, 2"
is_detached
mount_image parted.qcow2 mnt partition=1
mount_image parted.qcow2 other fstype=xfs
expect_equal "partitions" "p1 p2" "$(source_of mnt | grep -o 'p[12]$') $(source_of other | grep -o 'p[12]$')"
umount mnt
touch other/file
unmount other
mount -t qcow2.xfs -o transport="$TRANSPORT" parted.qcow2 mnt
[ -e mnt/file ]
unmount mnt

note "the server is killed while the file system is mounted: umount detaches in both ways"
mount_image disk.qcow2 mnt
echo kept >mnt/kept
kill_server disk
unmount mnt
mount_image disk.qcow2 mnt
kill_server disk
umount -i mnt
wait_for 60 is_detached
mount_image disk.qcow2 mnt
expect_equal "file" kept "$(cat mnt/kept)"

note "umount -l: the device stays until the last file is closed"
exec 7<mnt/kept
umount -l mnt
sleep 2
! is_detached || fail "detached under an open file"
expect_equal "file" kept "$(cat <&7)"
exec 7<&-
wait_for 20 is_detached

note "a mount that is killed before it has mounted: its device goes"
strace -qq -f -o strace.log -e trace=mount,fsconfig,move_mount,fsmount -e inject=mount,fsconfig:delay_enter=30s \
    mount.qcow2 "$WORK/disk.qcow2" "$WORK/mnt" -o transport="$TRANSPORT" &
killed=$!
wait_for 20 pgrep -x mount
[ -n "$(qcow2blk list | grep disk)" ]
sleep 2
# While strace holds it: let go, it would mount at once.
pkill -KILL -x mount.qcow2
pkill -KILL -x mount
wait $killed || true
! grep -q "$WORK/mnt" /proc/mounts || fail "mounted by a killed mount"
wait_for 30 is_detached
check_image disk.qcow2
