#!/bin/bash
# promise: nodes in network namespaces, 20 ms and a few Mbit/s from a web server, boot from one image; nothing is left of them
# transports: any
# seconds: 400
. "$PAYLOAD/guest/lib.sh"
for module in sch_netem veth bridge; do
    require_module $module
done
export QCOW2BLK_BINARY TMPDIR=$WORK/tmp
QCOW2BLK_BINARY=$(command -v qcow2blk)
mkdir "$TMPDIR"
fleet=$PAYLOAD/files/fleet.py

namespaces() { readlink /proc/[0-9]*/ns/net | sort -u | wc -l; }
are_gone() { [ "$(namespaces)" = 1 ]; }

nothing_is_left() {
    wait_for 20 are_gone
    expect_equal "files" "" "$(ls "$TMPDIR")"
    expect_equal "interfaces" "lo" "$(ls /sys/class/net | grep -v -E '^(bonding_masters|sit0|ip6tnl0)$')"
}

note "links"
python3 "$PAYLOAD/files/test_fleet.py" -v NamespaceTests ChoiceTests >links 2>&1 || fail "$(cat links)"
! grep -q skipped links || fail "$(cat links)"

note "nodes"
{
    echo "size $((64 << 20))"
    echo "data 0 $((32 << 20))"
    for ((i = 0; i < 100; i++)); do
        echo "read $((i * 7919 % 4000 * 4096)) $((4096 << i % 5))"
    done
} >boot
python3 "$fleet" --boot boot --network namespaces --nodes 3 --fleet-rate 20 --demo --json figures
expect_equal "network" namespaces "$(jq -r .network figures)"
expect_equal "requests of a warm node" 1 "$(jq '."one-node".rows[] | select(."" == "qcow2blk, warm").requests' figures)"
nothing_is_left

note "ended in the middle"
for signal in INT TERM; do
    # A shell has its background ignore ctrl-c.
    env --default-signal=INT python3 "$fleet" --boot boot --nodes 3 --demo >output 2>&1 &
    running=$!
    wait_for 60 grep -q "qcow2blk, cold  " output
    [ "$(namespaces)" -gt 1 ] || fail "no namespaces: $(cat output)"
    kill -$signal $running
    status=0
    wait $running || status=$?
    expect_equal "status" 130 $status
    nothing_is_left
done
