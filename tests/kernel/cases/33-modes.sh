#!/bin/bash
# promise: every copy mode of ublk that the kernel offers is used when asked for, and right
# transports: ublk
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_ublk
tried=
for mode in map user-copy zero-copy; do
    make_image disk.qcow2 8M
    if ! qcow2blk attach --transport ublk --ublk-mode $mode disk.qcow2 >device 2>refusal; then
        if [ $mode != zero-copy ] || python3 "$PAYLOAD/guest/ublk_features.py" AUTO_BUF_REG; then
            fail "mode $mode: $(cat refusal)"
        fi
        note "$mode: $(cat refusal)"
        expect_text "$mode" refusal
        continue
    fi
    DEV=$(cat device)
    qcow2blk status --json "$DEV" >status.json
    expect_text "\"$mode\"" status.json
    fio_verify "$DEV" --bsrange=4k-1M --size=4M
    start_load "$DEV" 6M
    kill_server
    finish_load
    python3 "$PAYLOAD/guest/model.py" "$DEV" 2 --expect wanted.raw
    settle # udev looks at what was written: a read of its that meets the end of the device is an I/O error
    detach
    check_image disk.qcow2
    qemu-img compare -q -f qcow2 -F raw disk.qcow2 wanted.raw
    tried+=" $mode"
done
note "modes:$tried"
[ -n "$tried" ] || fail "no mode works"
no_io_errors
