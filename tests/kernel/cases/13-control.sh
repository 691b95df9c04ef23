#!/bin/bash
# promise: every control command of ublk does what it says, for root and for a user, and what is missing is named
# transports: any
. "$PAYLOAD/guest/lib.sh"
tests=$PAYLOAD/files/ublk-control-tests # tests/kernel/control
failed=0
[ -x "$tests" ] || fail "the program was not built; make test-kernel builds it"
undo() {
    rm -f /run/udev/rules.d/90-ublk.rules
    udevadm control --reload
    modprobe -r ublk_drv
}
CLEANUP=undo

# PROMISE TEXT COMMAND...: the command ends with 77 and says the text.
refused() {
    local promise=$1 text=$2 said status
    shift 2
    status=0
    said=$("$@" 2>&1) || status=$?
    if [ $status -eq 77 ] && [[ $said == *"$text"* ]]; then
        echo "ok   $promise"
    else
        echo "FAIL $promise: exit status $status, said: $said"
        failed=1
    fi
}

passes() { "$@" || failed=1; }

as_user() { setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps=-all --bounding-set=-all "$@"; }

if ! modprobe -n ublk_drv 2>/dev/null; then
    refused "Kernel without ublk is named" "this kernel (Linux $(uname -r)) has no ublk driver" "$tests"
    CLEANUP=:
    note "all else needs ublk"
    exit $failed
fi

modprobe -r ublk_drv
refused "User is told of a module that is not loaded" "the kernel module ublk_drv is not loaded" as_user "$tests"
# Root's program loads it.
passes "$tests"
settle
refused "User without the node is told of root and of the udev rule" \
    "no permission to open /dev/ublk-control: permission denied (run as root, or install the udev rule" \
    as_user "$tests"
if [ -e /proc/sys/kernel/io_uring_disabled ]; then
    echo 2 >/proc/sys/kernel/io_uring_disabled
    refused "Disabled io_uring is named" "kernel.io_uring_disabled is 2" "$tests"
    echo 0 >/proc/sys/kernel/io_uring_disabled
fi
mv /dev/ublk-control /dev/elsewhere
refused "Node that nobody made is named" "/dev/ublk-control does not exist" "$tests"
mv /dev/elsewhere /dev/ublk-control

echo 'KERNEL=="ublkc*|ublkb*", MODE="0666"' >/run/udev/rules.d/90-ublk.rules
udevadm control --reload
chmod 666 /dev/ublk-control
passes as_user "$tests" unprivileged
as_user "$tests" unprivileged keep >kept || failed=1
passes "$tests" end "$(sed -n 's/^kept //p' kept)"
exit $failed
