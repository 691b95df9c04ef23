"""Writes one number after the other, each to every disk in turn.

two_disks.py forever URI...   prints "writing", then "more" from time to time
two_disks.py compare RAW RAW  the second disk has the numbers of the first, or of one write before
"""
import sys

import nbd

BLOCK = 4096
BLOCKS = 1500


def forever(*uris):
    disks = []
    for uri in uris:
        disk = nbd.NBD()
        disk.connect_uri(uri)
        disks.append(disk)
    print("writing", flush=True)
    number = 0
    while True:
        number += 1
        for disk in disks:
            disk.pwrite(number.to_bytes(8, "big") * (BLOCK // 8), number * 7 % BLOCKS * BLOCK)
        if number % 300 == 0:
            print("more", flush=True)


def newest(path):
    with open(path, "rb") as raw:
        return max(int.from_bytes(raw.read(BLOCK)[:8], "big") for _ in range(BLOCKS))


def compare(first, second):
    ahead = newest(first) - newest(second)
    if ahead not in (0, 1):
        sys.exit(f"the first disk is {ahead} writes ahead")


{"forever": forever, "compare": compare}[sys.argv[1]](*sys.argv[2:])
