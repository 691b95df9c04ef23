#!/bin/bash
# promise: the systemd unit attaches at start, takes over a dead server's device, survives restart and stop while mounted, detaches at stop
# transports: ublk nbd
# init: systemd
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
mount -t tmpfs none /etc/qcow2blk
make_image "a disk.qcow2" 64M
printf 'IMAGE="%s"\nOPTIONS=--transport %s --nbd-timeout 2\n' "$WORK/a disk.qcow2" "$TRANSPORT" >/etc/qcow2blk/disk.conf
install_units
UNIT=qcow2blk@disk

has_failed() { [ "$(systemctl is-active $UNIT)" = failed ]; }

has_new_server() { local pid; pid=$(server_pid disk) && [ -n "$pid" ] && [ "$pid" != "$old" ] && is_running disk; }

# Type=notify: the device is there when the start is done.
systemctl start $UNIT
DEV=$(status_of disk .device)
[ -b "$DEV" ]
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
fill_tree mnt
sync

note "its rights are enough to say who uses it, to suspend and to resume"
expect_exit 4 qcow2blk detach disk
expect_text "mounted on $WORK/mnt"
sleep 600 <"$DEV" &
umount mnt
expect_exit 4 qcow2blk detach disk
expect_text "open in sleep \(pid $!\)"
kill $!
wait $! || true
mount_fs ext4 "$DEV"
qcow2blk suspend disk
qemu-img snapshot -c one "a disk.qcow2"
qcow2blk resume disk
check_tree mnt

note "the server dies: systemd starts it anew, and it takes the device over"
old=$(server_pid disk)
systemctl kill --kill-who=main -s KILL $UNIT
wait_for 60 has_new_server
expect_equal "device" "$DEV" "$(status_of disk .device)"
wait_for 30 systemctl is-active $UNIT
expect_equal "restarts" 1 "$(systemctl show -P NRestarts $UNIT)"
drop_caches
check_tree mnt
echo after >mnt/after
sync

note "restarted while mounted, as after an update of the package: the same device goes on"
old=$(server_pid disk)
systemctl restart $UNIT
has_new_server
expect_equal "device" "$DEV" "$(status_of disk .device)"
drop_caches
check_tree mnt

note "stopped while mounted: requests wait for the next start"
systemctl stop $UNIT || true
[ -b "$DEV" ]
sync mnt/after &
systemctl reset-failed $UNIT || true
systemctl start $UNIT
wait $!
expect_equal "device" "$DEV" "$(status_of disk .device)"
drop_caches
check_tree mnt
expect_equal "file" after "$(cat mnt/after)"
umount mnt
check_fs ext4 "$DEV"

note "stopped"
systemctl stop $UNIT
wait_for 10 test ! -e "/sys/class/block/$(basename "$DEV")/pid" -o ! -e "/sys/class/block/$(basename "$DEV")"
expect_equal "result" success "$(systemctl show -P Result $UNIT)"
check_image "a disk.qcow2"
no_io_errors

note "an image that cannot be attached: the start fails and says why"
echo "no image" >"a disk.qcow2"
status=0
systemctl start $UNIT || status=$?
[ $status -ne 0 ] || fail "systemctl start of a broken image succeeded"
wait_for 30 has_failed
systemctl reset-failed $UNIT
umount /etc/qcow2blk
