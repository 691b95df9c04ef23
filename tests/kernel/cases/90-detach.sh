#!/bin/bash
# promise: detach refuses a mounted or open device with status 4, obeys --lazy and --force, and never hangs
# short: ublk
# seconds: 300
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 256M
attach disk.qcow2
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
echo kept >mnt/file
expect_exit 4 timeout 60 qcow2blk detach "$DEV"
expect_text "mounted"
expect_text "$WORK/mnt|--lazy|--force"
is_running "$DEV"
umount mnt

# An open descriptor is a user, too.
exec 7<"$DEV"
expect_exit 4 timeout 60 qcow2blk detach "$DEV"
exec 7<&-

# Lazy: gone for newcomers when the last user is.
mount_fs ext4 "$DEV"
timeout 60 qcow2blk detach --lazy "$DEV"
echo more >>mnt/file
sync
umount mnt
wait_for 30 bash -c '! pgrep qcow2blk'
check_image disk.qcow2
attach disk.qcow2
mount_fs ext4 "$DEV"
expect_equal "file" "kept more" "$(tr '\n' ' ' <mnt/file | sed 's/ $//')"

# Force: at once, users get errors.
echo lost >mnt/other
started=$SECONDS
timeout 60 qcow2blk detach --force "$DEV"
# The disk stays until it is unmounted; a command that waits for that gives up after 10 s.
[ $((SECONDS - started)) -lt 9 ] || fail "detach --force took $((SECONDS - started)) s"
wait_for 30 bash -c '! pgrep qcow2blk'
umount mnt || umount -l mnt
check_image disk.qcow2 3
attach disk.qcow2
e2fsck -fy "$DEV" >fsck.log 2>&1 || [ $? -le 1 ] || fail "e2fsck: $(cat fsck.log)"
mount_fs ext4 "$DEV"
grep -q more mnt/file
umount mnt
detach
