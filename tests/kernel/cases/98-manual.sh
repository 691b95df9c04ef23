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
CLEANUP="umount --lazy /etc"
install_rules
sed "s,@bindir@,$(dirname "$(command -v qcow2blk)"),g" "$PAYLOAD/systemd/qcow2blk@.service" >/run/systemd/system/qcow2blk@.service
systemctl daemon-reload
TMPDIR=$WORK python3 "$PAYLOAD/files/session.py" "$PAYLOAD/files/examples.json"
