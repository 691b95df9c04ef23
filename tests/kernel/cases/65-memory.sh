#!/bin/bash
# promise: dirty pages of the device's own file system, more than the memory holds, are written while memory is short
# seconds: 300
# memory: 384
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 4G
attach disk.qcow2
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
# Eats what is left but for some MiB, so that pages must be cleaned to be had; nobody is to be killed for it.
python3 -c '
import mmap, time
free = int(next(line for line in open("/proc/meminfo") if line.startswith("MemAvailable")).split()[1]) // 1024
held = mmap.mmap(-1, max(free - 150, 8) << 20)
for place in range(0, len(held), 4096): held[place] = 1
print("    holding", len(held) >> 20, "MiB", flush=True)
time.sleep(600)' &
hog=$!
echo -900 >/proc/$hog/oom_score_adj
sleep 3
echo 40 >/proc/sys/vm/dirty_ratio
echo 30 >/proc/sys/vm/dirty_background_ratio
for number in 1 2 3; do
    dd if=/dev/zero of="mnt/file$number" bs=1M count=130 status=none &
done
dd if=/dev/urandom of=mnt/random bs=1M count=60 conv=fsync status=none
wait -n || true
sync
kill $hog
wait || true
for number in 1 2 3; do
    expect_equal "size of file$number" $((130 << 20)) "$(stat -c %s mnt/file$number)"
done
! dmesg | grep -E 'Out of memory|invoked oom-killer' || fail "out of memory"
cmp mnt/file1 <(head -c 130M /dev/zero)
umount mnt
check_fs ext4 "$DEV"
detach
check_image disk.qcow2
no_io_errors
