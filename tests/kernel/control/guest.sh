# shellcheck shell=bash
# Runs in a guest: the control commands of ublk for root and for a user, and what users are told where there is none.
# Exit status 77: this kernel has no ublk.
tests=$PAYLOAD/files/ublk-control-tests
failed=0

# PROMISE TEXT COMMAND...: the command ends with 77 and says the text.
refused() {
    local promise=$1 text=$2 said status
    shift 2
    said=$("$@" 2>&1)
    status=$?
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
    [ $failed -eq 0 ] || exit 1
    echo "SKIP all else: no ublk in Linux $(uname -r)"
    exit 77
fi

refused "Module that is not loaded is named" "the kernel module ublk_drv is not loaded" "$tests"
modprobe ublk_drv
udevadm settle
refused "User without the node is told of root and of the udev rule" "no right to open /dev/ublk-control: permission denied (run as root, or install the udev rule" as_user "$tests"
if [ -e /proc/sys/kernel/io_uring_disabled ]; then
    echo 2 >/proc/sys/kernel/io_uring_disabled
    refused "Disabled io_uring is named" "kernel.io_uring_disabled is 2" "$tests"
    echo 0 >/proc/sys/kernel/io_uring_disabled
fi
mv /dev/ublk-control /dev/elsewhere
refused "Node that nobody made is named" "/dev/ublk-control is not there" "$tests"
mv /dev/elsewhere /dev/ublk-control

passes "$tests"

echo 'KERNEL=="ublkc*|ublkb*", MODE="0666"' >/run/udev/rules.d/90-ublk.rules
udevadm control --reload
chmod 666 /dev/ublk-control
passes as_user "$tests" unprivileged
as_user "$tests" unprivileged keep >/tmp/kept || failed=1
passes "$tests" end "$(sed -n 's/^kept //p' /tmp/kept)"
exit $failed
