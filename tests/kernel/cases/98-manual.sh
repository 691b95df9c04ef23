#!/bin/bash
# promise: the examples of the manual, README.md and docs/*.md that need root work as printed
# transports: ublk
# init: systemd
# seconds: 600
# processors: 1
# tests/manual/examples.py finds them; examples.toml says what they find beforehand.
. "$PAYLOAD/guest/lib.sh"
require_transport
# What an administrator writes goes to /etc: a copy, as the root disk is read-only.
cp -a /etc "$WORK/etc"
mkdir -p "$WORK/etc/systemd/system"
mount --bind "$WORK/etc" /etc
undo() {
    systemctl stop qcow2blk-nbd@disk.socket qcow2blk-nbd@disk.service
    umount --lazy /etc
}
CLEANUP=undo
install_rules
install_units
TMPDIR=$WORK python3 "$PAYLOAD/files/session.py" "$PAYLOAD/files/examples.json"
