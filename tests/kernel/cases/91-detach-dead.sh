#!/bin/bash
# promise: detach ends soon whatever state the server is in: killed, stopped, suspended, under load
# also: nbd
# seconds: 300
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 128M

note "under load"
attach disk.qcow2 --nbd-timeout 5
start_load "$DEV" 64M
timeout 60 qcow2blk detach --force "$DEV"
wait "$LOAD" || true
no_leftovers
check_image disk.qcow2 3

note "suspended"
attach disk.qcow2 --nbd-timeout 5
qcow2blk suspend "$DEV"
timeout 60 qcow2blk detach "$DEV"
no_leftovers
check_image disk.qcow2

note "all processes killed"
attach disk.qcow2 --nbd-timeout 5
# shellcheck disable=SC2046
kill -KILL $(pgrep qcow2blk)
wait_for 10 bash -c '! pgrep qcow2blk'
timeout 60 qcow2blk detach disk.qcow2
no_leftovers
check_image disk.qcow2 3

note "killed with requests waiting"
attach disk.qcow2 --nbd-timeout 5
start_load "$DEV" 64M
# shellcheck disable=SC2046
kill -KILL $(pgrep qcow2blk)
wait_for 10 bash -c '! pgrep qcow2blk'
timeout 60 qcow2blk detach --force disk.qcow2
wait "$LOAD" || true
no_leftovers
check_image disk.qcow2 3

note "stopped"
attach disk.qcow2 --nbd-timeout 5
kill -STOP "$(server_pid)"
timeout 90 qcow2blk detach --force --timeout 5 disk.qcow2
no_leftovers
check_image disk.qcow2 3
attach disk.qcow2
fio_verify "$DEV" --bs=4k --size=1M
detach
