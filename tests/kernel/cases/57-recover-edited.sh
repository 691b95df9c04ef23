#!/bin/bash
# promise: an image that somebody wrote since its server died is not recovered before its log is given up
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 256M
attach disk.qcow2 --nbd-timeout 5 --name orphan

log_holds() { # start and end of the log, at 8 and 16, differ
    [ "$(od -An -td8 -j8 -N8 /run/qcow2blk/orphan.log)" != "$(od -An -td8 -j16 -N8 /run/qcow2blk/orphan.log)" ]
}

killed_with_records() {
    dd if=/dev/zero of="$DEV" bs=64k oflag=direct conv=notrunc status=none &
    load=$!
    sleep 0.5
    # shellcheck disable=SC2046
    kill -KILL $(pgrep qcow2blk)
    wait_for 10 bash -c '! pgrep qcow2blk'
    log_holds
}

for try in 1 2 3 4 5 6; do
    killed_with_records && break
    [ "$try" != 6 ] || fail "the log was empty at every death"
    qcow2blk attach --recover orphan
    wait "$load" || true
done

qemu-io -c 'write -P 9 200M 1M' disk.qcow2 >/dev/null
before=$(sha256sum disk.qcow2 /run/qcow2blk/orphan.log)
expect_exit 1 qcow2blk attach --recover orphan
expect_text 'another program opened the image for writing'
expect_text '--discard-log'
expect_equal "image and log" "$before" "$(sha256sum disk.qcow2 /run/qcow2blk/orphan.log)"
expect_equal "state" dead "$(qcow2blk list --json | jq -r '.[0].state')"

qcow2blk attach --recover --discard-log orphan
expect_equal "state" running "$(state_of orphan)"
wait "$load" || true
detach orphan
check_image disk.qcow2 3
