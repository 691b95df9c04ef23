#!/bin/bash
# promise: what was answered and never flushed is there after kill -9, also in clusters that were new
# short: ublk
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 256M
attach disk.qcow2 --nbd-timeout 5
start_load "$DEV" 16M
first=$(server_pid)
for _ in 1 2; do
    kill_server
    sleep "1.$((RANDOM % 10))"
done
load_is_running || note "the load ended before the last kill"
finish_load
wait_for 20 is_running "$DEV"
[ "$(server_pid)" != "$first" ] || fail "the server still has the process id of the one that was killed"
note "longest pause $(longest_pause) ms"
# Again from the disk, by a fresh attach.
detach
check_image disk.qcow2 3
no_io_errors
