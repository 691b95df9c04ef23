#!/bin/bash
# promise: a server that is killed while suspended waits for a resume, never going on over an edit; requests wait and end well
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 256M
attach disk.qcow2 --nbd-timeout 5
start_load "$DEV" 16M
qcow2blk suspend "$DEV"
kill_server
sleep 3
state=$(state_of "$DEV" || true)
note "state after the kill: $state"
[ "$state" != running ] || fail "it went on by itself, over whatever was done to the image"
qcow2blk resume "$DEV"
wait_for 20 is_running "$DEV"
finish_load
detach
check_image disk.qcow2 3
no_io_errors
