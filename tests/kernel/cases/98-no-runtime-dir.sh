#!/bin/bash
# promise: without a runtime directory, attach --foreground makes a block device; a signal ends it, and nothing waits for its server
# processors: 1
. "$PAYLOAD/guest/lib.sh"
require_transport
make_image disk.qcow2 64M
export QCOW2BLK_RUNTIME_DIR=$WORK/missing/run
serve() {
    rm -f device
    qcow2blk attach --foreground --transport "$TRANSPORT" disk.qcow2 >device 2>warnings &
    SERVER=$!
    wait_for 30 test -s device
    DEV=$(cat device)
}
end_by() { # SIGNAL STATUS
    local status=0
    kill "-$1" $SERVER
    wait $SERVER || status=$?
    expect_equal "status after SIG$1" "$2" $status
}

expect_exit 1 qcow2blk attach --transport "$TRANSPORT" disk.qcow2
expect_text "cannot create $WORK/missing/run"

serve
expect_text "other commands will not find this device, and if this server is killed, what was not flushed is lost" warnings
expect_equal "list" "" "$(qcow2blk list)"
head -c 1000000 /dev/urandom >data
dd if=data of="$DEV" bs=64k conv=fsync status=none
cmp -n 1000000 data <(head -c 1000000 "$DEV")
end_by TERM 0
check_image disk.qcow2

# In use: it goes all the same, after what the kernel had to write.
serve
make_fs ext4 "$DEV"
mount_fs ext4 "$DEV"
fill_tree mnt
end_by TERM 4
expect_text "mounted on $WORK/mnt" warnings
timeout 60 umount mnt || fail "umount waits for a server"
check_image disk.qcow2

# In use, and the kernel has more to write than there is time for: refused, and neither server nor umount waits for the other.
group=/sys/fs/cgroup
mountpoint -q $group || mount -t cgroup2 none $group
if grep -qw io $group/cgroup.controllers; then
    echo +io >$group/cgroup.subtree_control
    mkdir -p $group/slow
    serve
    mount_fs ext4 "$DEV"
    echo "$(findmnt -n -o MAJ:MIN -T "$WORK" | tr -d ' ') wbps=1000000" >$group/slow/io.max
    echo $SERVER >$group/slow/cgroup.procs
    dd if=/dev/urandom of=mnt/late bs=1M count=20 status=none
    end_by TERM 4
    [ "$TRANSPORT" = nbd ] || expect_text "that is lost|may be lost" warnings
    timeout 60 umount mnt || fail "umount waits for a server"
    wait_for 30 rmdir $group/slow # The process that stops the device may be there yet.
    wait_for 60 qemu-img info disk.qcow2 # Its last writes may be on their way yet, and hold the lock.
    check_image disk.qcow2 3
else
    note "the kernel cannot slow a disk down"
fi

# Killed: requests fail, and do not wait for ever. The kernel's NBD has --dead-timeout for that.
if [ "$TRANSPORT" = ublk ]; then
    serve
    end_by KILL 137
    wait_for 30 test ! -e "$DEV"
    qcow2blk cleanup
    check_image disk.qcow2 3
fi
