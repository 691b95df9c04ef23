#!/bin/bash
# promise: a program that uses the C library attaches a block device, suspends it, is told of a new server, and detaches
# also: nbd
# short: ublk
# seconds: 240
. "$PAYLOAD/guest/lib.sh"
require_transport
[ -x "$PAYLOAD/files/library-device" ] || fail "the program was not built; make test-kernel builds it"
make_image disk.qcow2 64M
# As make install lays them out.
mkdir -p installed/lib installed/bin
cp "$PAYLOAD/files/libqcow2blk.so" installed/lib/libqcow2blk.so.0
ln -s "$(command -v qcow2blk)" installed/bin/qcow2blk
LD_LIBRARY_PATH=$PWD/installed/lib "$PAYLOAD/files/library-device" "$PWD/disk.qcow2" "$TRANSPORT" | tee said
[ "$(tail -n 1 said)" = ok ] || fail "the program did not end with ok"
expect_equal "snapshots" one "$(qemu-img snapshot -l disk.qcow2 | awk '$1 == 1 { print $2 }')"
qemu-io -r -f qcow2 -c 'read -P 0x43 0 64k' disk.qcow2 | grep -q 'read 65536' || fail "the last write is not in the image"
# The server that was killed had not freed all that it no longer needed.
check_image disk.qcow2 3
no_io_errors
