#!/bin/bash
# promise: attach without rights says what is missing, and leaves nothing behind
# also: nbd
# short: ublk
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 16M
chmod 711 /data
chmod 777 "$WORK"
chmod 666 disk.qcow2
mkdir -m 700 run
chown tester: run
as_tester() { setpriv --reuid=tester --regid=tester --clear-groups env QCOW2BLK_RUNTIME_DIR="$WORK/run" "$@"; }
expect_exit 1 as_tester qcow2blk attach --transport "$TRANSPORT" "$WORK/disk.qcow2"
note "$(cat output)"
expect_text "permission|root|CAP_SYS_ADMIN|rights|privilege"
case $TRANSPORT in
    ublk) expect_text "/dev/ublk-control|udev" ;;
    nbd) expect_text "CAP_SYS_ADMIN|/dev/nbd|root" ;;
esac
[ -z "$(find run -mindepth 1 -not -name '*.log')" ] || fail "left in the runtime directory: $(find run)"
check_image disk.qcow2
# The same, when no kernel device can be had at all: NBD is offered in its place.
expect_exit 1 as_tester qcow2blk attach "$WORK/disk.qcow2"
expect_text "--socket|ublk"
