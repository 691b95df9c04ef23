#!/bin/bash
# promise: "attach --recover" takes over a device whose server and supervisor were both killed under load
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 256M
attach disk.qcow2 --nbd-timeout 5 --name orphan
fill_device 32M
start_load "$DEV" 24M
for target in orphan all; do
    # shellcheck disable=SC2046
    kill -KILL $(pgrep qcow2blk)
    wait_for 10 bash -c '! pgrep qcow2blk'
    expect_equal "state" dead "$(qcow2blk list --json | jq -r '.[0].state')"
    sleep 1
    qcow2blk attach --recover $target
    expect_equal "state" running "$(state_of orphan)"
    sleep 1
done
finish_load
note "longest pause $(longest_pause) ms"
detach orphan
check_image disk.qcow2 3
no_io_errors
