#!/bin/bash
# promise: many devices live side by side, under load, attached and detached at the same time
# seconds: 300
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
count=6
for number in $(seq $count); do make_image "$number.qcow2" 32M; done
for number in $(seq $count); do
    qcow2blk attach --transport "$TRANSPORT" "$number.qcow2" >"device.$number" &
done
wait
expect_equal "devices" $count "$(sort -u device.* | wc -l)"
for number in $(seq $count); do
    fio_run "load$number" --filename="$(cat "device.$number")" --rw=randwrite --verify=crc32c --bs=4k --size=1M --iodepth=4 &
    loads[number]=$!
done
for number in $(seq $count); do wait "${loads[number]}"; done
for number in $(seq $count); do qcow2blk detach "$(cat "device.$number")" & done
wait
for number in $(seq $count); do check_image "$number.qcow2"; done
no_io_errors
