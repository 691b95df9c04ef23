#!/bin/bash
# promise: a running server is replaced by a newer binary under load, without an error and with a short pause
# also: nbd
# short: ublk
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 256M
attach disk.qcow2
start_load "$DEV" 24M
mkdir newer
cp "$(command -v qcow2blk)" newer/qcow2blk
for _ in 1 2; do
    before=$(server_pid)
    newer/qcow2blk upgrade "$DEV"
    after=$(server_pid)
    [ "$before" != "$after" ] || fail "the server is still process $before"
    expect_equal "program of the server" "$WORK/newer/qcow2blk" "$(readlink "/proc/$after/exe")"
    sleep 1
done
load_is_running || note "the load ended before the last upgrade"
finish_load
pause=$(longest_pause)
note "longest pause $pause ms (emulated processors)"
# Far less than the 30 s after which the driver would send a request again that was lost.
[ "$pause" -lt 10000 ] || fail "the device paused for $pause ms"
detach
check_image disk.qcow2
no_io_errors
