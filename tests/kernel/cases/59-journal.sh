#!/bin/bash
# promise: the journal finds a server's lines by the device's name, image and event, and no name makes up fields
# transports: ublk nbd
# init: systemd
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
CLEANUP="systemctl stop systemd-journald.socket systemd-journald.service"
systemctl start systemd-journald.socket systemd-journald.service
wait_for 10 test -S /run/systemd/journal/socket
entries() { # FIELD=VALUE...
    journalctl --sync
    journalctl -q -o json "$@"
}
has_entry() { [ -n "$(entries "$@")" ]; }

note "a server in the background"
make_image disk.qcow2 64M
attach "$WORK/disk.qcow2" --name disk --log-level info
wait_for 10 has_entry QCOW2BLK_NAME=disk
expect_equal "fields" "qcow2blk 6 $WORK/disk.qcow2 $DEV" "$(entries QCOW2BLK_NAME=disk |
    jq -rs 'map(select(.QCOW2BLK_DEVICE))[0] | [.SYSLOG_IDENTIFIER, .PRIORITY, .QCOW2BLK_IMAGE, .QCOW2BLK_DEVICE] | join(" ")')"

note "it dies and is followed by another: two events that programs can look for"
kill_server disk
wait_for 30 is_running disk
for what in "was killed" "^recovered $WORK/disk.qcow2"; do
    wait_for 10 has_entry QCOW2BLK_NAME=disk MESSAGE_ID
    entries QCOW2BLK_NAME=disk | jq -r 'select(.MESSAGE_ID) | .MESSAGE' >output
    expect_text "$what"
done
detach disk

note "a name that would be fields"
forged=$'x\nPRIORITY=0\nQCOW2BLK_NAME=forged\nMESSAGE=forged.qcow2'
make_image "$forged" 16M
attach "$WORK/$forged" --name hostile --log-level info
wait_for 10 has_entry QCOW2BLK_NAME=hostile
entries QCOW2BLK_NAME=hostile | jq -rs 'map(.QCOW2BLK_IMAGE) | unique | length == 1' >output
expect_text true
expect_equal "image" "$WORK/$forged" "$(entries QCOW2BLK_NAME=hostile | jq -rs '.[0].QCOW2BLK_IMAGE')"
expect_equal "entries that were made up" "" "$(entries QCOW2BLK_NAME=forged)"
expect_equal "lines of the highest priority" "" "$(entries PRIORITY=0 SYSLOG_IDENTIFIER=qcow2blk)"
detach hostile
