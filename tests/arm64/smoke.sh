#!/bin/bash
# The arm64 binary on another machine, under qemu's user emulation: images made by qemu-img are attached, read, written,
# flushed, suspended for a snapshot, resumed and detached; libnbd is the client, qemu-img the judge.
# The emulation has no io_uring, so this is the ring of threads; kernel devices are out of its reach.
# The last line on stdout is "N passed, N failed".
# Usage: tests/arm64/smoke.sh       (after "make build RID=linux-arm64")
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

if [ "$(uname -m)" = aarch64 ]; then
    binary=$PWD/artifacts/qcow2blk emulator=()
else
    binary=$PWD/artifacts/arm64/qcow2blk emulator=(qemu-aarch64-static -L /usr/aarch64-linux-gnu)
fi
[ -x "$binary" ] || { echo "smoke: $binary does not exist (run \"make build RID=linux-arm64\")" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/var/tmp}/qcow2blk-arm64.XXXXXX")
export QCOW2BLK_RUNTIME_DIR=$work/run QCOW2BLK_CACHE_DIR=$work/cache
mkdir "$QCOW2BLK_RUNTIME_DIR"
passed=0 failed=0 server=

clean_up() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT

run() { "${emulator[@]}" "$binary" "$@"; }

check() { # PROMISE COMMAND...
    local promise=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
        echo "passed  $promise"
    else
        failed=$((failed + 1))
        echo "FAILED  $promise"
        sed 's/^/        /' "$work/log" "$work/server"
    fi
}

attach() { # IMAGE [OPTION...]
    : >"$work/server"
    "${emulator[@]}" "$binary" attach "$@" --socket "$work/socket" --foreground >"$work/server" 2>&1 &
    server=$!
    local tries
    for tries in $(seq 300); do
        grep -q '^nbd+unix:' "$work/server" && return
        kill -0 "$server" 2>/dev/null || return 1
        sleep 0.1
    done
    echo "the server is not ready after ${tries} tenths of a second" >&2
    return 1
}

end() { # waits for the server, whose status it returns
    local status=0
    wait "$server" || status=$?
    server=
    return $status
}

uri=nbd+unix:///?socket=$work/socket
same() { nbdcopy "$uri" "$work/read" && cmp "$work/read" "$1"; }
overwrite() { nbdcopy --flush "$work/new" "$uri" && same "$work/new"; }
detach() { run detach "$1" && end; }
is_intact() { qemu-img check -q "$1"; }
snapshot() { run suspend disk && qemu-img snapshot -c before "$work/disk.qcow2" && run resume disk; }
knows_its_processor() { [ "$(od -An -tx1 -j18 -N2 "$binary" | tr -d ' ')" = b700 ]; }

# Half of the data compresses, as in a real disk; nothing stays what it was.
{ head -c 8M /dev/urandom; yes 'an arm64 disk' | head -c 8M; } >"$work/old"
{ yes 'written on arm64' | head -c 5M; head -c 11M /dev/urandom; } >"$work/new"
qemu-img convert -f raw -O qcow2 "$work/old" "$work/disk.qcow2"
for codec in zlib zstd; do
    qemu-img convert -c -o compression_type=$codec -f raw -O qcow2 "$work/old" "$work/$codec.qcow2"
done

check "binary is for aarch64" knows_its_processor
check "image of qemu-img is attached" attach "$work/disk.qcow2" --name disk
check "its data is read" same "$work/old"
check "written and flushed data is read again" overwrite
check "suspend lets qemu-img take a snapshot" snapshot
check "the device goes on after resume" same "$work/new"
check "detach ends the server" detach disk
check "qemu-img finds no error in the image" is_intact "$work/disk.qcow2"
check "qemu-img reads what was written" qemu-img compare -q -F raw "$work/disk.qcow2" "$work/new"
for codec in zlib zstd; do
    check "image with $codec clusters is attached" attach "$work/$codec.qcow2" --name "$codec"
    check "$codec clusters are read" same "$work/old"
    check "$codec clusters are overwritten" overwrite
    check "detach ends the server of the $codec image" detach "$codec"
    check "qemu-img finds no error in the $codec image" is_intact "$work/$codec.qcow2"
    check "qemu-img reads what was written to the $codec image" qemu-img compare -q -F raw "$work/$codec.qcow2" "$work/new"
done

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
