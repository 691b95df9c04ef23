#!/usr/bin/python3
"""Reads of an NBD export what a boot reads, in its order, and compares it with a raw disk: replay.py URI RAW [RECORD]

Prints how long that took, in seconds. A few reads are under way at a time, as with a kernel that reads ahead.
"""

import mmap
import os
import sys
import time
from pathlib import Path

import nbd

sys.path.insert(0, str(Path(__file__).resolve().parent))
import boot  # noqa: E402

DEPTH = 4


def replay(uri, raw, reads):
    """Returns the time that all reads took."""
    client = nbd.NBD()
    client.connect_uri(uri)
    with open(raw, "rb") as file:
        disk = mmap.mmap(file.fileno(), os.path.getsize(raw), prot=mmap.PROT_READ)
    began, pending = time.monotonic(), []

    def finish():
        cookie, buffer, offset, length = pending.pop(0)
        while not client.aio_command_completed(cookie):
            client.poll(-1)
        if buffer.to_bytearray() != disk[offset:offset + length]:
            raise SystemExit(f"replay: {length} bytes at {offset} are wrong")

    for offset, length in reads:
        if len(pending) == DEPTH:
            finish()
        buffer = nbd.Buffer(length)
        pending.append((client.aio_pread(buffer, offset), buffer, offset, length))
    while pending:
        finish()
    took = time.monotonic() - began
    client.shutdown()
    return took


def main():
    uri, raw, *record = sys.argv[1:]
    print(f"{replay(uri, raw, boot.Boot(Path(record[0]) if record else boot.RECORD).reads):.3f}")


if __name__ == "__main__":
    main()
