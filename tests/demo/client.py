#!/usr/bin/python3
"""A small NBD client for the demo, on libnbd.

client.py write-changes URI OLD NEW   write the blocks of NEW that differ from OLD, then flush
client.py watch URI STOP_FILE         read one block every 5 ms until STOP_FILE exists; tell the longest pause
"""
import os
import sys
import time

import nbd

BLOCK = 64 * 1024


def connect(uri):
    client = nbd.NBD()
    client.connect_uri(uri)
    return client


def write_changes(uri, old_path, new_path):
    client = connect(uri)
    written = blocks = 0
    with open(old_path, "rb") as old, open(new_path, "rb") as new:
        offset = 0
        while after := new.read(BLOCK):
            if old.read(BLOCK) != after:
                client.pwrite(after, offset)
                written += len(after)
                blocks += 1
            offset += len(after)
    client.flush()
    client.shutdown()
    print(f"wrote {blocks} blocks, {written >> 10} KiB")


def watch(uri, stop_file):
    client = connect(uri)
    size = client.get_size()
    print("connected", flush=True)
    reads, longest, offset = 0, 0.0, 0
    while not os.path.exists(stop_file):
        begin = time.monotonic()
        client.pread(4096, offset)
        longest = max(longest, time.monotonic() - begin)
        reads += 1
        offset = (offset + 1024 * 1024) % (size - 4096) // 4096 * 4096
        time.sleep(0.005)
    client.shutdown()
    print(f"{reads} reads, no error, longest pause {longest * 1000:.0f} ms")


def main(arguments):
    commands = {"write-changes": (write_changes, 3), "watch": (watch, 2)}
    function, count = commands.get(arguments[0] if arguments else "", (None, 0))
    if function is None or len(arguments) != count + 1:
        sys.exit(__doc__)
    function(*arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
