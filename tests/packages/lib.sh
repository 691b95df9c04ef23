# Sourced by run.sh: counting, clean roots, and commands inside of them.

time_limit=300

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

wanted() { # GROUP
    local word
    [ ${#words[@]} -eq 0 ] && return 0
    for word in "${words[@]}"; do
        [[ $1 == *"$word"* ]] && return 0
    done
    return 1
}

check() { # NAME COMMAND...: one test. A function of this script runs in a shell of its own that stops at the first failure.
    local name=$1 log=$logs/${1//\//-}.log status began=$SECONDS
    shift
    if [ "$(type -t "$1")" = function ]; then
        (set -e; "$@") >"$log" 2>&1 </dev/null
    else
        timeout --kill-after=5 $time_limit "$@" >"$log" 2>&1 </dev/null
    fi
    status=$?
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
        say "$name: passed ($((SECONDS - began)) s)"
    else
        failed=$((failed + 1))
        say "$name: FAILED with status $status (log: $log)"
        tail -n 15 "$log" | sed 's/^/    /'
    fi
}

skip() { skipped=$((skipped + 1)); say "$1: skipped: $2"; }

fail() { echo "FAILED: $*"; exit 1; }

expect() { # WHAT EXPECTED ACTUAL
    [ "$2" = "$3" ] || fail "$1 is \"$3\", not \"$2\""
}

# The mirror is the one that this machine's apt names.
mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m 1 -E '/debian/?$'
}

clean_root() { # SUITE FOLDER: a copy of a root that nothing was installed into, with what compiles a program
    local made=$test/roots/$1
    if [ ! -e "$made.done" ]; then
        say "making a root of $1"
        rm -rf "$made"
        mkdir -p "$test/roots"
        debootstrap --variant=minbase --include=gcc,libc6-dev,pkgconf "$1" "$made" "$(mirror)" >"$logs/root-$1.log" 2>&1 ||
            { tail -n 5 "$logs/root-$1.log"; return 1; }
        rm -rf "$made"/var/cache/apt/* "$made"/var/lib/apt/lists/*
        touch "$made.done"
    fi
    drop_root "$2"
    cp -a --reflink=auto "$made" "$2"
    mount -t proc proc "$2/proc" 2>/dev/null || mount --bind /proc "$2/proc" || return 1
}

drop_root() { # FOLDER
    [ -d "$1" ] || return 0
    ! mountpoint -q "$1/proc" || { end_servers "$1"; umount "$1/proc" || return 1; }
    rm -rf "$1"
}

end_servers() { # FOLDER: what a failed test left running in it
    local process
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/root")" != "$1" ] || kill -9 "${process#/proc/}" 2>/dev/null || true
    done
}

clean_up() {
    local root
    for root in "$test"/root-*; do
        drop_root "$root"
    done
}

inside() { # COMMAND...: in $root
    chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

files_of() { # FOLDER: all paths that an installation could leave behind; not what package managers and the loader write themselves
    (cd "$1" && find . -xdev \( -path ./proc -o -path ./var/lib/dpkg -o -path ./var/lib/rpm -o -path ./var/log -o -path ./tmp \) -prune -o \
        ! -path ./etc/ld.so.cache ! -path './var/cache/ldconfig/*' -print | sort)
}

make_disk() { # FILE: an image with plain and compressed clusters; FILE.raw has the same
    qemu-img create -q -f raw "$1.raw" 8M
    seq 1 300000 | dd of="$1.raw" bs=64k conv=notrunc status=none
    qemu-img convert -q -c -f raw -O qcow2 "$1.raw" "$1"
    head -c 262144 /dev/urandom >"$1.random"
    dd if="$1.random" of="$1.raw" bs=64k seek=64 conv=notrunc status=none
    qemu-io -f qcow2 -c "write -q -s $1.random 4M 256k" "$1"
}
