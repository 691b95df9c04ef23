#!/bin/bash
# promise: LUKS on a qcow2 device opens, mounts and closes as mount.qcow2(8) shows, and on no other layer
# transports: any
# memory: 1024
. "$PAYLOAD/guest/lib.sh"
modprobe ublk_drv 2>/dev/null || require_nbd
require_module dm-crypt
modprobe xts 2>/dev/null || true
install_rules
make_image disk.qcow2 128M
mkdir -p mnt
# A key file and few iterations: the emulator is slow at what is meant to be slow.
head -c 64 /dev/urandom >key
qcow2blk attach disk.qcow2 --name secret >/dev/null
settle
cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file key /dev/qcow2blk/secret
cryptsetup open --key-file key /dev/qcow2blk/secret secret
mkfs.ext4 -q /dev/mapper/secret
mount /dev/mapper/secret mnt
fill_tree mnt
expect_exit 4 qcow2blk detach secret
umount mnt
expect_exit 4 qcow2blk detach secret
expect_text "used by dm-|secret"
cryptsetup close secret
qcow2blk detach secret

note "mount -t qcow2 says what it is, and leaves nothing attached"
expect_exit 32 mount -t qcow2 disk.qcow2 mnt
expect_text "crypto_LUKS.*cryptsetup"

note "opened again"
qcow2blk attach disk.qcow2 --name secret >/dev/null
settle
cryptsetup open --key-file key /dev/qcow2blk/secret secret
mount /dev/mapper/secret mnt
check_tree mnt
umount mnt
cryptsetup close secret
qcow2blk detach secret
check_image disk.qcow2
