#!/bin/bash
# promise: the journal finds a server's lines by the device's name, image and event, and no name makes up fields
# transports: ublk nbd
# init: systemd
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
undo() {
    systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald.service
    umount /etc/qcow2blk
}
CLEANUP=undo
mount -t tmpfs none /etc/qcow2blk
systemctl start systemd-journald.socket systemd-journald.service
wait_for 10 test -S /run/systemd/journal/socket
# As docs/systemd.md promises them.
SERVER_DIED=f344d783043045da81ef97c2ccb53e53
RECOVERED=250b10d12ce4413ca245d29c20d875f5
entries() { # FIELD=VALUE...
    journalctl --sync
    journalctl -q -o json "$@"
}
has_entry() { [ -n "$(entries "$@")" ]; }

note "a server in the background dies and is followed by another: two events that programs can look for"
make_image disk.qcow2 64M
attach "$WORK/disk.qcow2" --name disk --nbd-timeout 2
kill_server disk
wait_for 30 is_running disk
wait_for 10 has_entry QCOW2BLK_NAME=disk MESSAGE_ID="$SERVER_DIED"
wait_for 10 has_entry QCOW2BLK_NAME=disk MESSAGE_ID="$RECOVERED"
expect_equal "fields" "qcow2blk 4 $WORK/disk.qcow2 $DEV" "$(entries QCOW2BLK_NAME=disk MESSAGE_ID="$RECOVERED" |
    jq -r '[.SYSLOG_IDENTIFIER, .PRIORITY, .QCOW2BLK_IMAGE, .QCOW2BLK_DEVICE] | join(" ")')"
detach disk

note "a unit's server"
printf 'IMAGE=%s\nOPTIONS=--transport %s --log-level info\n' "$WORK/disk.qcow2" "$TRANSPORT" >/etc/qcow2blk/of-unit.conf
install_units
systemctl start qcow2blk@of-unit
wait_for 10 has_entry QCOW2BLK_NAME=of-unit _SYSTEMD_UNIT=qcow2blk@of-unit.service
systemctl stop qcow2blk@of-unit

note "a name that would be fields"
forged=$'x\nPRIORITY=0\nQCOW2BLK_NAME=forged\nMESSAGE=forged.qcow2'
make_image "$forged" 16M
attach "$WORK/$forged" --name hostile --nbd-timeout 2
kill_server hostile
wait_for 30 is_running hostile
wait_for 10 has_entry QCOW2BLK_NAME=hostile MESSAGE_ID="$RECOVERED"
expect_equal "images" "$(jq -n --arg image "$WORK/$forged" '[$image]')" \
    "$(entries QCOW2BLK_NAME=hostile | jq -s 'map(.QCOW2BLK_IMAGE) | unique')"
expect_equal "entries that were made up" "" "$(entries QCOW2BLK_NAME=forged)"
expect_equal "lines of the highest priority" "" "$(entries PRIORITY=0 SYSLOG_IDENTIFIER=qcow2blk)"
detach hostile
