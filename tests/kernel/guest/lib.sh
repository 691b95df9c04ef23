#!/bin/bash
# Functions of the cases. A case is a bash script that begins with: . "$PAYLOAD/guest/lib.sh"
# It runs in an empty directory of its own on /data, with $TRANSPORT set to ublk or nbd; the first command that fails
# ends it.
set -Eeuo pipefail

TRANSPORT=${TRANSPORT:-ublk}
CASE=${CASE:-script}
DEV='' # the block device that attach made last

WORK=$(mktemp -d "/data/${CASE//\//-}.XXXXXX" 2>/dev/null || mktemp -d)
cd "$WORK"

# --- ends of a case

skip() { # REASON...: this kernel cannot do what the case needs
    echo "SKIP: $*"
    trap - EXIT
    cd /
    rm -rf "$WORK"
    exit 77
}

fail() {
    echo "FAILED: $*"
    exit 1
}

note() { echo "    $*"; }

on_error() { echo "FAILED: line ${BASH_LINENO[0]} of $(basename "${BASH_SOURCE[1]}"): $BASH_COMMAND (status $1)"; }

CLEANUP=: # a command that a case wants run at its end, whatever its end is
on_exit() {
    local status=$?
    trap - EXIT ERR
    set +e
    $CLEANUP
    if [ $status -ne 0 ]; then
        describe_state
    elif [ -z "${LEFTOVERS_ARE_MINE:-}" ]; then
        cd /
        no_leftovers || { describe_state; status=98; }
        [ $status -ne 0 ] || rm -rf "$WORK"
    fi
    exit $status
}
trap on_exit EXIT
trap 'on_error $?' ERR

describe_state() {
    echo "--- devices, processes, log and kernel messages of the failed case"
    timeout 10 qcow2blk list 2>&1
    ps -eo pid,ppid,stat,wchan:24,args --no-headers | grep -E 'qcow2blk|qemu|fio' | grep -v grep
    tail -n 15 /var/log/messages 2>/dev/null
    dmesg | tail -n 15
}

# --- what the kernel offers

require_ublk() {
    modprobe ublk_drv 2>/dev/null || skip "the kernel has no ublk_drv module"
    wait_for 5 test -c /dev/ublk-control
}

require_nbd() {
    modprobe nbd 2>/dev/null || skip "the kernel has no nbd module"
}

require_transport() {
    case $TRANSPORT in
        ublk) require_ublk ;;
        nbd) require_nbd ;;
    esac
}

require_module() { # NAME: of a module, or of a file system that is built in
    modprobe "$1" 2>/dev/null || grep -qw "$1" /proc/filesystems || skip "the kernel has no $1"
}

require_feature() { # UBLK_F_NAME: a feature that the ublk driver reports, as "status" would
    require_ublk
    python3 "$PAYLOAD/guest/ublk_features.py" "$1" || skip "the kernel's ublk has no $1"
}

# --- devices

make_image() { # FILE SIZE [OPTION OF qemu-img...]
    local file=$1 size=$2
    shift 2
    qemu-img create -q -f qcow2 "$@" "$file" "$size"
}

attach() { # IMAGE [OPTION...]: attaches with $TRANSPORT and leaves the device in $DEV
    DEV=$(qcow2blk attach --transport "$TRANSPORT" "$@")
    case $TRANSPORT:$DEV in
        ublk:/dev/ublkb* | nbd:/dev/nbd*) ;;
        *) fail "attach --transport $TRANSPORT printed \"$DEV\"" ;;
    esac
    [ -b "$DEV" ] || fail "$DEV is no block device when attach returns"
}

detach() { qcow2blk detach "${@:-$DEV}"; }

status_of() { # TARGET JQ-EXPRESSION
    qcow2blk status --json "$1" | jq -r "$2"
}

# What cases ask in loops; jq alone takes half a second.
state_of() { qcow2blk status --json "$1" | sed -nE 's/^  "state": "(.*)",?$/\1/p'; }

server_pid() { qcow2blk status --json "${1:-$DEV}" | sed -nE 's/^  "pid": ([0-9]+),?$/\1/p'; }

kill_server() { # [TARGET]: kills the process that serves the device, as the kernel's out-of-memory killer would
    local pid
    # One that is not registered yet has another number than the one before it.
    wait_for 30 has_server "${1:-$DEV}"
    pid=$(server_pid "${1:-$DEV}")
    kill -KILL "$pid"
    wait_for 10 process_is_gone "$pid"
}

has_server() { [[ $(state_of "$1") =~ ^(running|suspended)$ ]]; }

process_is_gone() { [ ! -d "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status"; }

is_running() { [ "$(state_of "$1")" = running ]; }

sectors_of() { cat "/sys/class/block/$(basename "$1")/size"; }

size_of() { echo $(($(sectors_of "$1") * 512)); }

install_rules() { # the udev rules of packaging/udev
    local rules program
    program=$(command -v qcow2blk)
    for rules in "$PAYLOAD"/udev/*.rules; do
        sed "s,@bindir@,$(dirname "$program"),g" "$rules" >"/run/udev/rules.d/$(basename "$rules")"
    done
    udevadm control --reload
}

install_units() { # the units of packaging/systemd
    local unit
    for unit in "$PAYLOAD"/systemd/*.service "$PAYLOAD"/systemd/*.socket; do
        sed "s,@bindir@,$(dirname "$(command -v qcow2blk)"),g" "$unit" >"/run/systemd/system/$(basename "$unit")"
    done
    systemctl daemon-reload
}

queue_limit() { cat "/sys/class/block/$(basename "$DEV")/queue/$1"; }

settle() { udevadm settle --timeout=20; }

# --- checks

expect_exit() { # STATUS COMMAND...: what it prints is left in ./output
    local wanted=$1 status=0
    shift
    "$@" >output 2>&1 || status=$?
    [ $status -eq "$wanted" ] || fail "\"$*\" ended with $status instead of $wanted: $(cat output)"
}

expect_text() { # PATTERN [FILE]
    grep -qE -- "$1" "${2:-output}" || fail "no \"$1\" in: $(cat "${2:-output}")"
}

expect_equal() { # WHAT WANTED FOUND
    [ "$2" = "$3" ] || fail "$1: \"$3\" instead of \"$2\""
}

wait_for() { # SECONDS COMMAND...
    local tries=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "waited in vain for: $*"
        sleep 0.05
    done
}

# Not by asking qemu-img: it would lock the file itself for a moment, and whoever is waited for would give up.
is_locked() { grep -q ":$(stat -c %i "$1") " /proc/locks; } # FILE

check_image() { # FILE [STATUS]: qemu-img agrees that it is sound; 3 also allows leaked clusters
    local status=0
    qemu-img check -q "$1" >check.log 2>&1 || status=$?
    [ $status -eq 0 ] || [ $status -eq "${2:-0}" ] || fail "qemu-img check $1 ended with $status: $(tail -5 check.log)"
}

no_io_errors() { # the kernel reported none since the case began
    ! dmesg | grep -E 'I/O error|critical .* error|Remounting filesystem|hutting down filesystem|lost async page write' || fail "I/O errors"
}

no_leftovers() { # no device, process, socket or state file of qcow2blk is left
    local left tries=100
    settle 2>/dev/null
    until left=$(leftovers) && [ -z "$left" ]; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "left behind: $left"; return 1; }
        sleep 0.05
    done
}

leftovers() {
    local node
    grep -l '^qcow2blk' /proc/[0-9]*/comm 2>/dev/null || true
    for node in /sys/class/block/ublkb* /sys/class/ublk-char/*; do
        [ ! -e "$node" ] || echo "$node"
    done
    for node in /sys/class/block/nbd*; do
        [ ! -e "$node/size" ] || [ "$(<"$node/size")" = 0 ] || echo "$node"
    done
    [ ! -d /run/qcow2blk ] || find /run/qcow2blk -mindepth 1
    find /dev/qcow2blk -type l 2>/dev/null || true
    grep "$WORK" /proc/mounts || true
}

# --- file systems and load

make_fs() { # ext4|xfs DEVICE
    case $1 in
        ext4) mkfs.ext4 -q -F "$2" ;;
        xfs) mkfs.xfs -q -f "$2" ;;
    esac
}

mount_fs() { # ext4|xfs DEVICE: on ./mnt
    mkdir -p mnt
    mount -t "$1" "$2" mnt
}

check_fs() { # ext4|xfs DEVICE
    case $1 in
        ext4) e2fsck -fn "$2" >fsck.log 2>&1 || fail "e2fsck: $(tail -5 fsck.log)" ;;
        xfs) xfs_repair -n "$2" >fsck.log 2>&1 || fail "xfs_repair: $(tail -5 fsck.log)" ;;
    esac
}

fill_tree() { # DIRECTORY: real files of different sizes, with their digests in ./tree.sha
    cp -r /usr/lib/python3*/asyncio /usr/lib/python3*/email /usr/lib/udev/rules.d "$1"
    head -c 4000000 /dev/urandom >"$1/large"
    (cd "$1" && find . -type f -exec sha256sum {} +) >tree.sha
}

check_tree() { (cd "$1" && sha256sum --quiet -c -) <tree.sha; }

drop_caches() {
    sync
    echo 3 >/proc/sys/vm/drop_caches
}

fio_run() { # NAME OPTION...: fio must end without an error; its report is left in ./NAME.fio
    local name=$1
    shift
    fio --name="$name" --output="$name.fio" --ioengine=libaio --direct=1 --group_reporting=1 --verify_fatal=1 --verify_state_save=0 \
        --randrepeat=0 "$@" || fail "fio $name $*"
}

fio_verify() { # DEVICE OPTION...: writes and reads back
    local device=$1
    shift
    fio_run verify --filename="$device" --rw=randwrite --verify=crc32c --iodepth=16 "$@"
}

fill_device() { # SIZE: allocates the first SIZE bytes of the device, on disk when it returns
    dd if=/dev/urandom of="$DEV" bs=1M count="${1%M}" oflag=direct conv=fsync status=none
}

LOAD=
start_load() { # DEVICE SIZE [OPTION OF fio...]: random writes in the background, all read back and compared at the end
    local device=$1 size=$2
    shift 2
    fio --name=load --output=load.fio --allow_file_create=0 --filename="$device" --ioengine=libaio \
        --direct=1 --iodepth=16 --rw=randwrite --bs=4k --size="$size" \
        --verify=crc32c --verify_fatal=1 --verify_state_save=0 --randrepeat=0 --write_iops_log=load --log_avg_msec=0 "$@" &
    LOAD=$!
    sleep 1
    load_is_running || fail "the load ended at once: $(tail -5 load.fio)"
}

load_is_running() { kill -0 "$LOAD" 2>/dev/null; }

finish_load() {
    wait "$LOAD" || fail "the load ended with an error: $(head -5 load.fio)"
    LOAD=
}

longest_pause() { # milliseconds between two completions of the load
    awk -F, '{ if (NR > 1 && $1 - last > most) most = $1 - last; last = $1 } END { print most + 0 }' load_iops.*.log
}
