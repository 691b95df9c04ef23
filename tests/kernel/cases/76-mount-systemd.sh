#!/bin/bash
# promise: a line of fstab mounts an image by mount -a, by its directory, by a mount unit of systemd and on first access; stop detaches
# transports: any
# init: systemd
# seconds: 400
. "$PAYLOAD/guest/lib.sh"
modprobe ublk_drv 2>/dev/null || require_nbd
require_module autofs4
GENERATOR=/lib/systemd/system-generators/systemd-fstab-generator
[ -x $GENERATOR ] || fail "no systemd-fstab-generator on the root disk"
mkdir -p mnt auto images
make_image images/disk.qcow2 64M
make_image images/other.qcow2 64M
for image in disk other; do
    DEV=$(qcow2blk attach images/$image.qcow2)
    mkfs.ext4 -q "$DEV"
    qcow2blk detach "$DEV"
done
printf '%s\n' "$WORK/images/disk.qcow2 $WORK/mnt qcow2 noauto,noatime,nofail 0 0" \
    "$WORK/images/other.qcow2 $WORK/auto qcow2 noauto,x-systemd.automount,x-systemd.requires-mounts-for=$WORK/images,_netdev 0 0" >fstab
mount --bind fstab /etc/fstab
undo() {
    umount "$WORK/auto" "$WORK/mnt" /etc/fstab 2>/dev/null
    rm -rf /run/systemd/generator/*
    systemctl daemon-reload
}
CLEANUP=undo
change_fstab() { sed "$1" fstab >changed && cat changed >fstab; } # in place: it is bound over the real one
is_detached() { [ "$(qcow2blk list --json)" = "[]" ]; }

note "mount and umount by the directory; mount -a twice"
mount "$WORK/mnt"
grep -q "$WORK/mnt ext4 rw,noatime" /proc/mounts
mount -o remount,ro "$WORK/mnt"
grep -q "$WORK/mnt ext4 ro,noatime" /proc/mounts
umount "$WORK/mnt"
is_detached
change_fstab 's/noauto,noatime/noatime/'
mount -a
mount -a
expect_equal "mounts" 1 "$(grep -c "$WORK/mnt" /proc/mounts)"
umount "$WORK/mnt"
is_detached

note "the units that systemd makes of these lines"
systemctl daemon-reload
unit=$(systemd-escape --path --suffix=mount "$WORK/mnt")
expect_equal "type" qcow2 "$(systemctl show -P Type "$unit")"
systemctl show -P RequiresMountsFor "$(systemd-escape --path --suffix=mount "$WORK/auto")" >requires
expect_text "$WORK/images" requires
systemctl start "$unit"
grep -q "$WORK/mnt ext4 rw,noatime" /proc/mounts
echo data >mnt/file
sync
kill -KILL "$(qcow2blk status --json disk | sed -nE 's/^  "pid": ([0-9]+),?$/\1/p')"
wait_for 30 has_server disk
cat mnt/file
systemctl stop "$unit"
expect_equal "result" success "$(systemctl show -P Result "$unit")"
is_detached
check_image images/disk.qcow2

note "unmounted behind systemd's back, and started again"
systemctl start "$unit"
umount -i mnt
wait_for 20 is_detached
systemctl start "$unit"
expect_equal "file" data "$(cat mnt/file)"
systemctl stop "$unit"
is_detached

note "the server is in the first unit's control group, and goes on for a second mount when that unit stops"
mkdir second
systemctl start "$unit"
mount -t qcow2 images/disk.qcow2 "$WORK/second"
systemctl stop "$unit"
sleep 2
echo more >>second/file
timeout 30 sync -f second/file
expect_equal "file" "data more" "$(tr '\n' ' ' <second/file | sed 's/ $//')"
umount second
is_detached

note "on first access"
automount=$(systemd-escape --path --suffix=automount "$WORK/auto")
systemctl start "$automount"
is_detached
ls auto >/dev/null
grep -q "$WORK/auto ext4" /proc/mounts
systemctl stop "$automount"
wait_for 20 is_detached

note "an image that is not there: the unit fails and says why"
mv images/disk.qcow2 images/gone.qcow2
change_fstab 's/,nofail//'
systemctl daemon-reload
expect_exit 1 systemctl start "$unit"
systemctl reset-failed "$unit"
is_detached
