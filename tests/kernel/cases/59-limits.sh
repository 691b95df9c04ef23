#!/bin/bash
# promise: limits hold on a block device, outlive its server, and delay neither suspend nor upgrade
# also: nbd
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 64M
attach disk.qcow2 --write-iops 50
limit() { status_of disk .limits[\"write-iops\"]; }
expect_equal "limit" 50 "$(limit)"

# 200 requests, one after the other: what was saved up (5) and 50 a second.
started=$(date +%s%N)
dd if=/dev/zero of="$DEV" bs=4k count=200 oflag=direct status=none
took=$(( ($(date +%s%N) - started) / 1000000 ))
note "200 writes took $took ms"
[ "$took" -ge 3700 ] || fail "200 writes took $took ms, which is faster than 50 a second"
[ "$took" -le 8000 ] || fail "200 writes took $took ms, which is far slower than 50 a second"

qcow2blk set disk --write-iops 2
dd if=/dev/urandom of=data bs=4k count=64 status=none
dd if=data of="$DEV" bs=4k oflag=direct status=none &
load=$!
waits() { [ "$(status_of disk .requests[\"waiting-for-limit\"])" -gt 0 ]; }
wait_for 30 waits
qcow2blk suspend disk --timeout 10
check_image disk.qcow2
qcow2blk resume disk
qcow2blk trace disk --count 2 --seconds 60 --json | jq -se 'map(select(.["waited-for"] == ["limit"])) | length > 0' >/dev/null ||
    fail "the trace does not say what requests waited for"

kill -9 "$(server_pid)"
wait_for 60 is_running disk
expect_equal "limit after kill -9" 2 "$(limit)"
qcow2blk upgrade disk
expect_equal "limit after an upgrade" 2 "$(limit)"
qcow2blk set disk --write-iops 0
wait $load
cmp -n 262144 data "$DEV" || fail "the data is not what was written"

detach
check_image disk.qcow2
no_io_errors
