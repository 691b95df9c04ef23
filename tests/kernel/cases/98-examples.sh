#!/bin/bash
# promise: the examples of the help texts that need block devices work as they stand there
# transports: ublk
# processors: 1
# HelpExampleTests compares these lines with the help texts.
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 100M
qcow2blk attach disk.qcow2 >/dev/null
mkfs.ext4 -q -F /dev/ublkb0
qcow2blk detach disk
mount $(qcow2blk attach disk.qcow2) /mnt
mountpoint -q /mnt || fail "nothing is mounted"
echo hello >/mnt/file

qcow2blk upgrade disk
qcow2blk upgrade /dev/ublkb0 --json
expect_equal "file" hello "$(cat /mnt/file)"

supervisor=$(status_of disk .supervisor)
kill -9 "$supervisor" "$(server_pid disk)"
has_no_server() { [ "$(state_of disk)" = dead ]; }
wait_for 30 has_no_server
qcow2blk attach --recover disk
expect_equal "file" hello "$(cat /mnt/file)"

qcow2blk list --orphans
qcow2blk cleanup
qcow2blk cleanup --all
is_running disk
qcow2blk detach /dev/ublkb0 --lazy
umount /mnt
is_detached() { [ -z "$(qcow2blk list)" ]; }
wait_for 30 is_detached
check_image disk.qcow2
