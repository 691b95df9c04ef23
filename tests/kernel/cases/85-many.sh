#!/bin/bash
# promise: two hundred attaches and detaches in a row leave nothing behind: no device, process, socket or memory
# seconds: 400
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
rounds=40

no_udev_workers() { [ "$(pgrep -c -f systemd-udevd)" -le 1 ]; }

measure_memory() { # FILE: what is in use when caches are dropped and the workers of udev, which stay a while, are gone
    settle
    wait_for 20 no_udev_workers
    drop_caches
    sleep 1
    cp /proc/meminfo "$1"
    cp /proc/slabinfo "$1.slabs"
    # Free pages that a processor keeps for itself (64 MiB each on newer kernels) are in no line of meminfo.
    awk '/^  pagesets/ { on = 1 } on && $1 == "count:" { pages += $2 } END { print "PerProcessor:", pages * 4, "kB" }' /proc/zoneinfo >>"$1"
}

available() { awk '/^(MemAvailable|PerProcessor):/ { sum += $2 } END { print sum }' "$1"; }

describe_loss() { # BEFORE AFTER: what grew by more than a MiB
    echo "--- memory, KiB before and after"
    awk 'NR == FNR { before[$1] = $2; next } $2 - before[$1] > 1024 || before[$1] - $2 > 1024 { print $1, before[$1], $2 }' "$1" "$2"
    awk 'NR == FNR { before[$1] = $3 * $4 / 1024; next } $3 * $4 / 1024 - before[$1] > 512 {
        printf "%s %d %d\n", $1, before[$1], $3 * $4 / 1024 }' \
        "$1.slabs" "$2.slabs"
    du -xsk /run /tmp /var
}

for number in 0 1 2 3 4; do make_image $number.qcow2 16M; done
round() { # NUMBER: one device after the other; in every tenth round all at once, which costs a single processor half as much again
    local number device
    for number in 0 1 2 3 4; do
        {
            device=$(qcow2blk attach --transport "$TRANSPORT" $number.qcow2)
            [ $number -ne 0 ] || echo "$1" | dd of="$device" bs=512 count=1 conv=sync oflag=direct status=none
        } &
        [ $(($1 % 10)) -eq 1 ] || wait $!
    done
    wait
    qcow2blk detach ?.qcow2
}
for warm in 1 2 3; do round $warm; done
measure_memory before
started=$SECONDS
for number in $(seq 1 $rounds); do
    round "$number"
done
seconds=$((SECONDS - started))
no_leftovers
measure_memory after
lost=$(($(available before) - $(available after)))
note "$((rounds * 5)) devices in $seconds s; available memory $(available before) KiB before, $(available after) KiB after"
[ $lost -lt $((16 * 1024)) ] || { describe_loss before after; fail "$lost KiB of memory are gone"; }
check_image 0.qcow2
