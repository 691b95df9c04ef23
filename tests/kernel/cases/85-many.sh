#!/bin/bash
# promise: hundreds of attaches and detaches in a row leave nothing behind: no device, process, socket or memory
# seconds: 400
. "$PAYLOAD/guest/lib.sh"
require_transport
rounds=100
free_memory() {
    drop_caches
    sleep 1
    awk '/^MemAvailable/ { print $2 }' /proc/meminfo
}
for number in 0 1 2; do make_image $number.qcow2 16M; done
round() {
    local number device
    for number in 0 1 2; do
        device=$(qcow2blk attach --transport "$TRANSPORT" $number.qcow2)
        echo "$1" | dd of="$device" bs=512 count=1 conv=sync oflag=direct status=none
    done
    qcow2blk detach 0.qcow2 1.qcow2 2.qcow2
}
for warm in 1 2 3; do round $warm; done
before=$(free_memory)
started=$SECONDS
for number in $(seq 1 $rounds); do
    round "$number"
    # As many as the time allows, one hundred devices at least.
    [ $((SECONDS - started)) -lt 150 ] || [ "$number" -lt 34 ] || break
done
no_leftovers
after=$(free_memory)
note "$((number * 3)) devices in $((SECONDS - started)) s; available memory $before KiB before, $after KiB after"
[ $((before - after)) -lt $((16 * 1024)) ] || fail "$((before - after)) KiB of memory are gone"
check_image 0.qcow2
