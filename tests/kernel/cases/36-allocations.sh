#!/bin/bash
# promise: requests allocate no managed memory, whatever they are, so that nothing is ever collected under load
. "$PAYLOAD/guest/lib.sh"
require_transport
look() { status_of "$DEV" '"\(.memory."allocated-bytes") \(.requests | .reads + .writes + .others)"'; }
run() { fio_run "$1" --filename="$DEV" --time_based --runtime=1.5 --iodepth=16 --size=64M "${@:2}"; }
load() { # every type of request, on data that is there and on new clusters
    run mixed --rw=randrw --bsrange=512-64k
    run flushed --rw=randwrite --bs=4k --fdatasync=4
    run trims --rw=randtrim --bs=64k
}
make_image disk.qcow2 256M
attach disk.qcow2
fill_device 32M
# What a look costs, with what the threads of the runtime do meanwhile.
read -r first _ <<<"$(look)"
sleep 4
read -r second _ <<<"$(look)"
# Pools grow to what a load needs, and a later one may need a little more: then it is measured again.
for _ in 1 2 3 4; do
    read -r before from <<<"$(look)"
    load
    read -r after to <<<"$(look)"
    spent=$((after - before - (second - first)))
    requests=$((to - from))
    note "$spent bytes in $requests requests; resident $(status_of "$DEV" '.memory."resident-bytes"') bytes"
    [ $requests -gt 300 ] || fail "only $requests requests"
    # The runtime counts in pieces of 8 KiB for each thread.
    if [ $spent -lt $((16384 + 2 * requests)) ]; then
        detach
        check_image disk.qcow2
        exit 0
    fi
done
fail "$spent bytes were allocated by $requests requests"
