#!/bin/bash
# promise: units have few rights, and the first client of a socket unit starts an NBD server without any
# transports: any
# init: systemd
# processors: 1
. "$PAYLOAD/guest/lib.sh"
undo() {
    systemctl stop qcow2blk-nbd@disk.socket qcow2blk-nbd@disk.service
    umount /etc/passwd /etc/group /etc/qcow2blk
}
CLEANUP=undo
mount -t tmpfs none /etc/qcow2blk
mkdir /etc/qcow2blk/nbd
for file in passwd group; do
    cp /etc/$file .
    mount --bind $file /etc/$file
done
echo "qcow2blk:x:998:998::/:/bin/false" >>/etc/passwd
echo "qcow2blk:x:998:" >>/etc/group
install_units

note "exposure, in tenths"
for unit in qcow2blk@.service:30 qcow2blk-shutdown.service:30 qcow2blk-nbd@.service:15; do
    systemd-analyze security --offline=true --threshold="${unit#*:}" "/run/systemd/system/${unit%:*}" >output ||
        fail "${unit%:*}: $(tail -1 output)"
done

note "a socket"
mkdir images
chown qcow2blk: images
chmod 711 "$WORK" /data
make_image "images/a disk.qcow2" 64M
chown qcow2blk: "images/a disk.qcow2"
printf 'IMAGE="%s"\nOPTIONS=--log-level info\n' "$WORK/images/a disk.qcow2" >/etc/qcow2blk/nbd/disk.conf
expect_exit 1 systemctl start qcow2blk-nbd@other.socket
systemctl start qcow2blk-nbd@disk.socket
SOCKET=/run/qcow2blk-nbd/disk.sock
expect_equal "owner of the socket" "qcow2blk:qcow2blk 660" "$(stat -c '%U:%G %a' $SOCKET)"
expect_equal "server before the first client" inactive "$(systemctl show -P ActiveState qcow2blk-nbd@disk.service)"

note "a client"
expect_equal "size" $((64 << 20)) "$(nbdinfo --size "nbd+unix:///?socket=$SOCKET")"
qemu-io -f raw -c "write -P 7 0 1M" -c flush "nbd+unix:///?socket=$SOCKET" >/dev/null
pid=$(systemctl show -P MainPID qcow2blk-nbd@disk.service)
expect_equal "user" qcow2blk "$(stat -c %U "/proc/$pid")"
expect_equal "capabilities" 0000000000000000 "$(awk '/^CapEff/ { print $2 }' "/proc/$pid/status")"
expect_exit 1 setpriv --reuid=tester --regid=tester --clear-groups nbdinfo --size "nbd+unix:///?socket=$SOCKET"
expect_text "Permission denied"

note "stopped, and started by the next client"
systemctl stop qcow2blk-nbd@disk.service
expect_equal "result" success "$(systemctl show -P Result qcow2blk-nbd@disk.service)"
check_image "images/a disk.qcow2"
qemu-io -f raw -c "read -P 7 0 1M" "nbd+unix:///?socket=$SOCKET" >output
expect_text "read 1048576/1048576"
systemctl is-active --quiet qcow2blk-nbd@disk.service
