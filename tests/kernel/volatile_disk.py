#!/usr/bin/python3
"""A disk with a volatile write cache, for power cuts: an NBD server for one client on a unix socket.

Writes are kept in memory until the client flushes. When the client's connection is cut, a random part of what was not
flushed reaches the file, in no order, as sectors: just what a disk does that loses power.
Usage: volatile_disk.py SOCKET FILE SEED
"""

import os
import random
import socket
import struct
import sys

SECTOR = 512
READ, WRITE, DISCONNECT, FLUSH, TRIM, WRITE_ZEROES = 0, 1, 2, 3, 4, 6
FUA = 1
# has flags, flush, FUA, trim, write zeroes
TRANSMISSION_FLAGS = 1 | 4 | 8 | 32 | 64
NBDMAGIC, CLISERV_MAGIC = 0x4E42444D41474943, 0x00420281861253
REQUEST_MAGIC, REPLY_MAGIC = 0x25609513, 0x67446698


class Disk:
    """The file and what has not reached it yet: sector number -> its data."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDWR)
        self.pending = {}

    def read(self, offset, length):
        data = bytearray(os.pread(self.file, length, offset))
        data.extend(bytes(length - len(data)))
        if self.pending:
            for number in range(offset // SECTOR, (offset + length) // SECTOR):
                held = self.pending.get(number)
                if held is not None:
                    place = number * SECTOR - offset
                    data[place:place + SECTOR] = held
        return data

    def write(self, offset, data):
        for place in range(0, len(data), SECTOR):
            self.pending[(offset + place) // SECTOR] = data[place:place + SECTOR]

    def zero(self, offset, length):
        zeroes = bytes(SECTOR)
        for number in range(offset // SECTOR, (offset + length) // SECTOR):
            self.pending[number] = zeroes

    def flush(self):
        first, run = None, []
        for number in sorted(self.pending):
            if first is not None and number == first + len(run):
                run.append(self.pending[number])
                continue
            if first is not None:
                os.pwrite(self.file, b"".join(run), first * SECTOR)
            first, run = number, [self.pending[number]]
        if first is not None:
            os.pwrite(self.file, b"".join(run), first * SECTOR)
        self.pending.clear()

    def lose_power(self, source):
        """Any part of what was pending reaches the disk: all, nothing, or a share of the sectors."""
        share = source.choice((0, 1, source.random()))
        for number, data in self.pending.items():
            if source.random() < share:
                os.pwrite(self.file, data, number * SECTOR)
        return len(self.pending), share


def receive(connection, length):
    data = bytearray(length)
    view, have = memoryview(data), 0
    while have < length:
        count = connection.recv_into(view[have:])
        if count == 0:
            raise EOFError
        have += count
    return data


def serve(connection, disk):
    size = os.fstat(disk.file).st_size
    connection.sendall(struct.pack(">QQQI124x", NBDMAGIC, CLISERV_MAGIC, size, TRANSMISSION_FLAGS))
    while True:
        magic, flags, kind, cookie, offset, length = struct.unpack(">IHHQQI", receive(connection, 28))
        if magic != REQUEST_MAGIC:
            raise ValueError("bad request")
        reply = struct.pack(">IIQ", REPLY_MAGIC, 0, cookie)
        if kind == READ:
            reply += disk.read(offset, length)
        elif kind == WRITE:
            disk.write(offset, bytes(receive(connection, length)))
        elif kind in (TRIM, WRITE_ZEROES):
            disk.zero(offset, length)
        elif kind == DISCONNECT:
            # Left with care: qemu saved the machine and ended.
            disk.flush()
            return
        if kind == FLUSH or flags & FUA:
            disk.flush()
        connection.sendall(reply)


def main():
    path, file, seed = sys.argv[1], sys.argv[2], sys.argv[3]
    disk = Disk(file)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        connection, _ = listener.accept()
    try:
        serve(connection, disk)
    except (EOFError, ConnectionError):
        pending, share = disk.lose_power(random.Random(seed))
        print(f"{pending} sectors were not flushed, a share of {share:.2f} of them is on the disk", flush=True)


if __name__ == "__main__":
    main()
