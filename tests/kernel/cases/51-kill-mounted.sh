#!/bin/bash
# promise: a mounted file system does not notice that its server was killed, also while suspended or without load
# seconds: 300
. "$PAYLOAD/guest/lib.sh"
require_transport
for type in ext4 xfs; do
    require_module $type
    make_image disk.qcow2 1G
    attach disk.qcow2 --nbd-timeout 5
    make_fs $type "$DEV"
    mount_fs $type "$DEV"
    (for number in $(seq 1 3); do mkdir "mnt/$number"; fill_tree "mnt/$number"; rm -rf "mnt/$((number - 1))/email"; sync; done) &
    writer=$!
    sleep 1
    kill_server
    sleep 1
    kill_server
    wait $writer || fail "writing to the mounted file system failed"
    # Idle.
    kill_server
    wait_for 30 is_running "$DEV"
    drop_caches
    check_tree mnt/3
    umount mnt
    check_fs $type "$DEV"
    detach
    check_image disk.qcow2 3
    rm disk.qcow2
done
no_io_errors
