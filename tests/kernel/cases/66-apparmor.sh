#!/bin/bash
# promise: below the AppArmor profile images of its directories work, no other image can be opened, and nothing else is denied
# transports: ublk nbd
# kernel: apparmor=1 security=apparmor audit=1 audit_backlog_limit=8192
. "$PAYLOAD/guest/lib.sh"
require_transport
mountpoint -q /sys/kernel/security || mount -t securityfs none /sys/kernel/security
[ -e /sys/kernel/security/apparmor/profiles ] || skip "the kernel has no AppArmor"
PROFILES=$(mktemp -d)
cp -r /etc/apparmor.d/* "$PAYLOAD"/apparmor/* "$PROFILES"
cp "$PAYLOAD"/apparmor/tunables/* "$PROFILES/tunables"
mkdir "$PROFILES/tunables/qcow2blk.d"
echo "@{QCOW2BLK_IMAGES}+=$WORK/images/" >"$PROFILES/tunables/qcow2blk.d/test"
sed -i "s,@bindir@,$(dirname "$(command -v qcow2blk)")," "$PROFILES/usr.bin.qcow2blk"
apparmor_parser --base "$PROFILES" --skip-cache --replace "$PROFILES/usr.bin.qcow2blk"
undo() {
    apparmor_parser --base "$PROFILES" --remove "$PROFILES/usr.bin.qcow2blk"
    echo 5 >/proc/sys/kernel/printk_ratelimit
}
CLEANUP=undo
denied() { dmesg | grep 'apparmor="DENIED"' | grep -v "$WORK/elsewhere" || true; }
confinement_of() { cat "/proc/$1/attr/current"; }

# Every denial is to be seen, however many there are.
echo 0 >/proc/sys/kernel/printk_ratelimit

mkdir images elsewhere
make_image images/base.qcow2 64M
make_image "images/a disk.qcow2" 64M -b base.qcow2 -F qcow2
make_image elsewhere/other.qcow2 64M

note "an image elsewhere"
expect_exit 1 qcow2blk attach --transport "$TRANSPORT" "$WORK/elsewhere/other.qcow2"
expect_text "(P|p)ermission denied"
expect_exit 1 qcow2blk attach "$WORK/elsewhere/other.qcow2" --socket /run/other.sock
[ -n "$(dmesg | grep 'apparmor="DENIED"' | grep "$WORK/elsewhere/other.qcow2")" ] || fail "the kernel log does not say what was denied"

note "attached, used, suspended, resumed, upgraded, killed, recovered, detached"
attach "$WORK/images/a disk.qcow2" --name disk
expect_equal "profile" "qcow2blk (enforce)" "$(confinement_of "$(server_pid disk)")"
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
fill_tree mnt
sync
expect_exit 4 qcow2blk detach disk
expect_text "mounted on $WORK/mnt"
qcow2blk status disk >/dev/null
qcow2blk list >/dev/null
qcow2blk suspend disk
qemu-img snapshot -c one "images/a disk.qcow2"
qcow2blk resume disk
qcow2blk upgrade disk
kill_server disk
wait_for 30 is_running disk
drop_caches
check_tree mnt
umount mnt
sleep 600 <"$DEV" &
expect_exit 4 qcow2blk detach disk
expect_text "open in sleep \\(pid $!\\)"
kill $!
wait $! || true
kill -KILL "$(qcow2blk status --json disk | jq .supervisor)" 2>/dev/null || true
kill_server disk
qcow2blk attach --recover disk 2>/dev/null || wait_for 30 is_running disk
detach disk
qcow2blk info "$WORK/images/a disk.qcow2" >/dev/null
qcow2blk map "$WORK/images/a disk.qcow2" >/dev/null
check_image "images/a disk.qcow2"

note "over NBD"
qcow2blk attach "$WORK/images/a disk.qcow2" --name served --socket /run/served.sock >/dev/null
nbdinfo --size "nbd+unix:///?socket=/run/served.sock" >/dev/null
detach served
qcow2blk attach "$WORK/images/a disk.qcow2" --name served --listen 127.0.0.1:10809 >/dev/null
nbdinfo --size nbd://127.0.0.1 >/dev/null
detach served

expect_equal "denied" "" "$(denied)"
expect_exit 1 qcow2blk attach "$WORK/images/a disk.qcow2" --run true
