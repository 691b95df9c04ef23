#!/bin/bash
# The life of an attached image, on real data: a file system in a compressed qcow2 with an overlay is attached,
# read back, written, suspended for "qemu-img snapshot", resumed, detached and checked by qemu-img and e2fsck.
# Usage: tests/demo/demo.sh [DIRECTORY]   (default: documentation found on this machine, up to 150 MiB)
set -euo pipefail
cd "$(dirname "$0")/../.."

qcow2blk=${QCOW2BLK_BINARY:-$PWD/artifacts/qcow2blk}
client=(/usr/bin/python3 "$PWD/tests/demo/client.py")
work=$(mktemp -d "${TMPDIR:-/var/tmp}/qcow2blk-demo.XXXXXX")
limit=$((150 << 20))
overlay=$work/overlay.qcow2 socket=$work/demo.sock
attached=no watcher=
PATH=$PATH:/usr/sbin:/sbin
# The demo's servers stay apart from this user's own.
export QCOW2BLK_RUNTIME_DIR=$work/run QCOW2BLK_CACHE_DIR=$work/cache
mkdir "$QCOW2BLK_RUNTIME_DIR"

clean_up() {
    local status=$?
    trap - EXIT INT TERM
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true
    [ $attached = no ] || "$qcow2blk" detach --force "$overlay" >/dev/null 2>&1 || true
    rm -rf "$work"
    [ $status -eq 0 ] || echo "demo: FAILED at: ${step_text:-start}" >&2
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT TERM

step_text=
step() { # TEXT COMMAND...: runs a step, prints it with its time, and what it printed if it failed
    step_text=$1
    shift
    local from=$EPOCHREALTIME log=$work/step.log status=0
    "$@" >"$log" 2>&1 || status=$?
    local took=$(((${EPOCHREALTIME/./} - ${from/./}) / 1000))
    printf '%6d ms  %s\n' "$took" "$step_text"
    if [ $status -ne 0 ]; then
        sed 's/^/           /' "$log" >&2
        return 1
    fi
}
note() { printf '           %s\n' "$*"; }
show() { sed 's/^[[:space:]]*/           /' "$work/step.log"; }

collect_files() { # copies files of real directories until the limit is reached
    local from
    mkdir "$work/tree"
    for from in "${sources[@]}"; do
        [ -d "$from" ] || continue
        # A file is taken if it still fits; sockets, links and unreadable files are not.
        find "$from" -xdev -type f -readable -printf '%s %P\0' |
            awk -v RS='\0' -v ORS='\0' -v room=$((limit - $(du -sb "$work/tree" | cut -f1))) \
                '{ size = $1; sub(/^[0-9]+ /, ""); if (used + size <= room) { used += size; print } }' >"$work/list"
        mkdir -p "$work/tree/$from"
        tar -C "$from" --null --files-from="$work/list" -cf - | tar -C "$work/tree/$from" -xf -
    done
    [ -n "$(find "$work/tree" -type f -print -quit)" ]
}

make_filesystem() {
    local size
    size=$(du -sm "$work/tree" | cut -f1)
    mke2fs -q -t ext4 -b 4096 -d "$work/tree" "$work/base.raw" "$((size * 5 / 4 + 96))M"
    rm -rf "$work/tree"
}

make_images() {
    qemu-img convert -f raw -O qcow2 -c "$work/base.raw" "$work/base.qcow2" &&
        qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 "$overlay"
}

attach() {
    uri=$("$qcow2blk" attach "$overlay" --socket "$socket") && attached=yes && [ -n "$uri" ]
}

same_as() { # RAW_FILE: the whole device, read by nbdcopy, has the file's checksum
    local expected actual
    expected=$(sha256sum <"$1")
    actual=$(nbdcopy "$uri" - | sha256sum)
    echo "expected $expected"
    echo "read     $actual"
    [ "$expected" = "$actual" ]
}

put_file() { # NAME MIB: a new file of random bytes into a copy of the file system, by debugfs
    head -c "$(($2 << 20))" /dev/urandom >"$work/$1"
    cp --sparse=always "$work/now.raw" "$work/next.raw"
    debugfs -w -R "write $work/$1 $1" "$work/next.raw" 2>&1
    e2fsck -fn "$work/next.raw" >/dev/null 2>&1
}

write_changes() { # the blocks that differ, over NBD, ended by a flush
    "${client[@]}" write-changes "$uri" "$work/now.raw" "$work/next.raw"
    mv "$work/next.raw" "$work/now.raw"
}

start_watcher() {
    "${client[@]}" watch "$uri" "$work/stop" >"$work/watch.log" 2>&1 &
    watcher=$!
    timeout 10 grep -q connected <(tail -f --pid=$watcher -n +1 "$work/watch.log")
}

stop_watcher() {
    touch "$work/stop"
    local status=0
    wait "$watcher" || status=$?
    watcher=
    tail -1 "$work/watch.log"
    return $status
}

snapshot_is() { # NAME RAW_FILE
    qemu-img convert -l "snapshot.name=$1" -f qcow2 -O raw "$overlay" "$work/snapshot.raw" &&
        cmp "$work/snapshot.raw" "$2"
}

filesystem_is_sound() {
    qemu-img convert -f qcow2 -O raw "$overlay" "$work/after.raw" &&
        cmp "$work/after.raw" "$work/now.raw" && e2fsck -fn "$work/after.raw"
}

detach() {
    "$qcow2blk" detach "$overlay" && attached=no && [ ! -e "$socket" ]
}

if [ $# -gt 0 ]; then
    sources=("$@")
else
    dotnet_root=$(dirname "$(readlink -f "$(command -v dotnet || echo /usr/bin/dotnet)")")
    sources=(/usr/share/doc "$dotnet_root/packs" "$dotnet_root/sdk")
fi
started=$SECONDS
echo "qcow2blk demo: $("$qcow2blk" --version) on $(uname -sr), $(nproc) cores"
if [ -e /dev/ublk-control ] || [ -e /dev/nbd0 ]; then
    note "this machine has kernel block devices; attaching to them comes later: a unix socket for now"
fi

step "collect real files" collect_files
note "$(find "$work/tree" -type f | wc -l) files, $(du -sm "$work/tree" | cut -f1) MiB"
step "mke2fs -d: an ext4 file system of them" make_filesystem
step "qemu-img convert -c: a compressed qcow2, and an overlay on it" make_images
note "base.raw $(du -m "$work/base.raw" | cut -f1) MiB, base.qcow2 $(du -m "$work/base.qcow2" | cut -f1) MiB"
cp --sparse=always "$work/base.raw" "$work/now.raw"

step "qcow2blk attach overlay.qcow2 --socket" attach
note "$uri"
step "nbdinfo: what a client sees" nbdinfo "$uri"
show | grep -E 'protocol|export-size|can_multi_conn|can_zero|can_trim' || true
step "nbdcopy: the whole device, and its checksum" same_as "$work/base.raw"
show
step "qemu-img compare: the same, by another client" qemu-img compare -f raw -F raw "$work/base.raw" "$uri"

step "debugfs: a new file in a copy of the file system" put_file first.bin 8
step "write its blocks over NBD, flush" write_changes
show
step "nbdcopy: the checksum after the write" same_as "$work/now.raw"
cp --sparse=always "$work/now.raw" "$work/at-snapshot.raw"

step "a client that keeps reading, whatever happens" start_watcher
step "qcow2blk suspend" "$qcow2blk" suspend "$overlay"
step "qemu-img snapshot -c before-update, while suspended" qemu-img snapshot -c before-update "$overlay"
step "qemu-img check, while suspended" qemu-img check -q "$overlay"
step "qcow2blk resume" "$qcow2blk" resume "$overlay"
step "the reading client: no error, only a pause" stop_watcher
show

step "debugfs: another new file" put_file second.bin 4
step "write its blocks over NBD, flush" write_changes
show
step "nbdcopy: the checksum after the second write" same_as "$work/now.raw"
step "qcow2blk detach" detach

step "qemu-img check: the image is sound" qemu-img check "$overlay"
show
step "the snapshot holds what was there when it was taken" snapshot_is before-update "$work/at-snapshot.raw"
step "e2fsck: the file system is sound and holds both files" filesystem_is_sound
step "the base was not touched" qemu-img compare -f raw -F qcow2 "$work/base.raw" "$work/base.qcow2"
echo "demo: all steps passed in $((SECONDS - started)) s"
