#!/bin/bash
# promise: qcow2-dm does what the script of that name did, in its words: create, check, snapshot, resize, remove, without its traps
# also: nbd
# seconds: 600
. "$PAYLOAD/guest/lib.sh"
# Written from the description of the script, never from what our program prints.
if [ "$TRANSPORT" = nbd ]; then
    # A module that is not loaded is loaded by attach.
    ! modinfo ublk_drv >/dev/null 2>&1 || skip "qcow2-dm takes ublk where there is ublk"
fi
require_transport
install_rules

lines_are() { # LINE...: each is in ./output, in this order
    local line from=1 at
    for line in "$@"; do
        at=$(tail -n "+$from" output | grep -nxF -- "$line" | head -n 1 | cut -d: -f1)
        [ -n "$at" ] || fail "no line \"$line\" (in that order) in: $(cat output)"
        from=$((from + at))
    done
}

make_image base.qcow2 64M
make_image top.qcow2 64M -b base.qcow2 -F qcow2

note "the life of a device"
expect_exit 0 qcow2-dm create top.qcow2 vm1
lines_are "No errors were found on the image." "disk_sz=67108864" \
    "Create device [vm1] of size 67108864 from [top.qcow2 base.qcow2]."
[ -L /dev/qcow2blk/vm1 ] || fail "no /dev/qcow2blk/vm1 when create returns"
DEV=$(readlink -f /dev/qcow2blk/vm1)
expect_equal "size" 67108864 "$(size_of "$DEV")"
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
fill_tree mnt
expect_exit 0 qcow2-dm check top.qcow2
lines_are "Suspending vm1." "===== Call:  qemu-img check top.qcow2. =====" "No errors were found on the image." \
    "===== End of qemu-img check top.qcow2. =====" "Resuming vm1."
! grep -q "^Checking" output || fail "check checks twice"
expect_exit 0 qcow2-dm snapshot -c "before upgrade" top.qcow2
lines_are "Suspending vm1." "Checking $WORK/top.qcow2" "===== Call:  qemu-img snapshot -c before upgrade top.qcow2. =====" \
    "===== End of qemu-img snapshot -c before upgrade top.qcow2. =====" "Resuming vm1."
rm mnt/large
expect_exit 0 qcow2-dm snapshot -l top.qcow2
expect_text "before upgrade"
expect_exit 0 qcow2-dm resize top.qcow2 +64M
lines_are "Suspending vm1." "Checking $WORK/top.qcow2" "===== Call:  qemu-img resize top.qcow2 +64M. =====" "Image resized." \
    "===== End of qemu-img resize top.qcow2 +64M. =====" "Reloading vm1." "Resuming vm1."
size_is_seen() { # DEVICE: or a message says why not
    if [ "$TRANSPORT" = ublk ] && ! python3 "$PAYLOAD/guest/ublk_features.py" UPDATE_SIZE; then
        expect_text "(vm1|chain): the disk has 134217728 bytes now .* attach it again"
    else
        expect_equal "size" 134217728 "$(size_of "$1")"
    fi
}
size_is_seen "$DEV"
resize2fs "$DEV" >/dev/null 2>&1

note "what would change the disk under the file system is refused before anything is done"
expect_exit 1 qcow2-dm snapshot -a "before upgrade" top.qcow2
! grep -q Suspending output || fail "suspended for a snapshot that is refused"
expect_exit 1 qcow2-dm resize --shrink top.qcow2 64M
expect_exit 1 qcow2-dm remove top.qcow2
lines_are "Removing device [vm1]."
is_running vm1
[ -e mnt/email ]

note "a call of qemu-img that fails: its status, and the device goes on"
expect_exit 1 qcow2-dm snapshot -d nonesuch top.qcow2
lines_are "Suspending vm1." "Failed during qemu-img call." "Resuming vm1."
is_running vm1
touch mnt/after
umount mnt

note "removed, by another name of the image and from another folder"
ln -s top.qcow2 link.qcow2
(cd /tmp && expect_exit 0 qcow2-dm remove "$WORK/link.qcow2" && cp output "$WORK/removed")
mv removed output
lines_are "Removing device [vm1]." "Checking [$WORK/top.qcow2]." "No errors were found on the image."
expect_exit 1 qcow2-dm remove top.qcow2
lines_are "Can't find device with [top.qcow2] top image."
expect_exit 1 qcow2-dm check top.qcow2
lines_are "Can't find device by [top.qcow2]."

note "the snapshot holds a file system that needs no repair, also of what was only in memory"
qemu-img convert -O raw -l "before upgrade" top.qcow2 before.raw
check_fs ext4 before.raw
mount -t qcow2 -o "snapshot=before upgrade" top.qcow2 mnt
check_tree mnt
umount mnt

note "a chain of twelve with blanks in its names, by relative names and from another folder"
mkdir -p "a chain" elsewhere
(
    cd "a chain"
    make_image "image 1.qcow2" 64M
    for ((i = 2; i <= 12; i++)); do
        make_image "image $i.qcow2" 64M -b "image $((i - 1)).qcow2" -F qcow2
    done
)
cd elsewhere
expect_exit 0 qcow2-dm create "../a chain/image 12.qcow2" chain
expected="../a chain/image 12.qcow2"
for ((i = 11; i >= 1; i--)); do expected="$expected ../a chain/image $i.qcow2"; done
lines_are "disk_sz=67108864" "Create device [chain] of size 67108864 from [$expected]."
expect_exit 0 qcow2-dm snapshot -c one "../a chain/image 12.qcow2"
expect_exit 0 qcow2-dm resize "../a chain/image 12.qcow2" 128M
size_is_seen "$(readlink -f /dev/qcow2blk/chain)"
expect_exit 0 qcow2-dm remove "../a chain/image 12.qcow2"
cd ..

note "bases that the driver did not take: raw, and of an unstated format"
truncate -s 32M raw.img
make_image on-raw.qcow2 64M -b raw.img -F raw
expect_exit 0 qcow2-dm create on-raw.qcow2 vm1
lines_are "Create device [vm1] of size 67108864 from [on-raw.qcow2 raw.img]."
expect_exit 0 qcow2-dm remove on-raw.qcow2
cp base.qcow2 silent.qcow2
qemu-img create -q -f qcow2 -u -b silent.qcow2 -F qcow2 unstated.qcow2 64M
qemu-img rebase -u -b silent.qcow2 unstated.qcow2 2>/dev/null || note "this qemu-img always states a format"
expect_exit 0 qcow2-dm create unstated.qcow2 vm1
expect_exit 0 qcow2-dm remove unstated.qcow2

note "the exit status of create is that of the device"
expect_exit 0 qcow2-dm create top.qcow2 taken
expect_exit 1 qcow2-dm create base.qcow2 taken
expect_exit 0 qcow2-dm remove top.qcow2

note "a resume that fails shows in the exit status, also where qemu-img did what it should"
expect_exit 0 qcow2-dm create top.qcow2 vm1
cp /usr/bin/qemu-img real-qemu-img
cat >qemu-img <<EOT
#!/bin/bash
"$WORK/real-qemu-img" "\$@" || exit
[ "\$1" != snapshot ] || setsid qemu-io -c 'sleep 60000' "$WORK/top.qcow2" >/dev/null 2>&1 </dev/null &
sleep 2
EOT
chmod +x qemu-img
mount --bind qemu-img /usr/bin/qemu-img
expect_exit 1 qcow2-dm snapshot -c late top.qcow2
umount /usr/bin/qemu-img
lines_are "Suspending vm1." "===== End of qemu-img snapshot -c late top.qcow2. =====" "Resuming vm1."
expect_text "in use by qemu-io"
expect_equal "state" suspended "$(state_of vm1)"
pkill -x qemu-io
wait_for 10 qcow2blk resume vm1

note "another program has the image: a bounded wait, and who it is"
expect_exit 0 qcow2-dm remove top.qcow2
qemu-io -c 'sleep 60000' top.qcow2 >/dev/null &
holder=$!
wait_for 30 is_locked top.qcow2
started=$SECONDS
expect_exit 1 qcow2-dm create top.qcow2 vm1
[ $((SECONDS - started)) -lt 40 ] || fail "waited $((SECONDS - started)) s"
expect_text "in use by qemu-io"
kill $holder
wait $holder || true
