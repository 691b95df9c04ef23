"""Random requests of every type to a block device, compared with a model of what it must hold.

Usage: model.py DEVICE SECONDS [--seed N] [--cluster BYTES] [--expect FILE]
Writes (plain and with FUA), flushes, discards, write zeroes with and without unmap, reads; from one block to some hundred
KiB, aligned to the device's logical block. At the end the whole device is compared, and with --expect written to FILE as it must be.
A discarded range may keep its data only outside whole clusters (--cluster; 0: anywhere).
"""

import argparse
import ctypes
import fcntl
import mmap
import os
import random
import struct
import time

BLKSSZGET, BLKGETSIZE64, BLKDISCARD, BLKZEROOUT = 0x1268, 0x80081272, 0x1277, 0x127F
RWF_DSYNC = 2
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 0x10
LARGEST = 768 << 10


class Model:
    def __init__(self, device, seed, cluster):
        self.file = os.open(device, os.O_RDWR | os.O_DIRECT)
        self.block = struct.unpack("i", fcntl.ioctl(self.file, BLKSSZGET, b"\0" * 4))[0]
        self.size = struct.unpack("Q", fcntl.ioctl(self.file, BLKGETSIZE64, b"\0" * 8))[0]
        self.cluster = cluster
        # Kernels without write zeroes in their nbd refuse to punch holes; they write zeroes as data.
        with open(f"/sys/class/block/{os.path.basename(device)}/queue/write_zeroes_max_bytes") as limit:
            self.unmaps = int(limit.read()) > 0
        self.source = random.Random(seed)
        self.buffer = mmap.mmap(-1, LARGEST)
        self.noise = self.source.randbytes(LARGEST)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.held = bytearray(self.size)
        self.counts = {}
        self.zero(0, self.size)
        fcntl.ioctl(self.file, BLKZEROOUT, struct.pack("QQ", 0, self.size))

    def zero(self, offset, length):
        self.held[offset:offset + length] = bytes(length)

    def range(self):
        blocks = self.source.choice((1, 1, 2, 7, 8, 16, 33, 128, self.source.randint(1, LARGEST // self.block)))
        length = min(blocks, LARGEST // self.block) * self.block
        # Half of the ranges begin where clusters do, or end there.
        offset = self.source.randrange((self.size - length) // self.block + 1) * self.block
        if self.source.random() < 0.5:
            offset -= offset % 65536
        return offset, length

    def write(self, offset, length, flags=0):
        at = self.source.randrange(LARGEST // 512) * 512
        data = (self.noise[at:] + self.noise)[:length]
        self.buffer[:length] = data
        with memoryview(self.buffer)[:length] as view:
            assert os.pwritev(self.file, [view], offset, flags) == length
        self.held[offset:offset + length] = data

    def write_fua(self, offset, length):
        self.write(offset, length, RWF_DSYNC)

    def read(self, offset, length):
        found = self.content(offset, length)
        if found != self.held[offset:offset + length]:
            raise SystemExit(f"FAILED: read of {length} at {offset}: {self.first_difference(found, offset)}")

    def content(self, offset, length):
        with memoryview(self.buffer)[:length] as view:
            assert os.preadv(self.file, [view], offset) == length
        return self.buffer[:length]

    def first_difference(self, found, offset):
        for place in range(0, len(found), self.block):
            wanted = self.held[offset + place:offset + place + self.block]
            if found[place:place + self.block] != wanted:
                return f"at {offset + place}: {found[place:place + 16].hex()} instead of {wanted[:16].hex()}"
        return "no difference"

    def flush(self, offset, length):
        os.fdatasync(self.file)

    def ioctl(self, request, offset, length):
        fcntl.ioctl(self.file, request, struct.pack("QQ", offset, length))

    def discard(self, offset, length):
        self.ioctl(BLKDISCARD, offset, length)
        found = self.content(offset, length)
        for place in range(0, length, self.block):
            start, end = offset + place, offset + place + self.block
            piece = found[place:place + self.block]
            if not any(piece):
                continue
            if self.cluster:
                first = start - start % self.cluster
                whole = first >= offset and first + self.cluster <= offset + length
                assert not whole, f"discarded cluster at {first} still holds data"
            assert piece == self.held[start:end], f"discard left other data at {start}"
        self.held[offset:offset + length] = found

    def zero_out(self, offset, length):
        self.ioctl(BLKZEROOUT, offset, length)
        self.zero(offset, length)

    def allocate(self, mode, offset, length):
        if self.libc.fallocate64(self.file, mode, ctypes.c_int64(offset), ctypes.c_int64(length)):
            raise OSError(ctypes.get_errno(), "fallocate")
        self.zero(offset, length)

    def punch(self, offset, length):
        self.allocate(PUNCH_HOLE | KEEP_SIZE, offset, length)

    def zero_range(self, offset, length):
        self.allocate(ZERO_RANGE | KEEP_SIZE, offset, length)

    def run(self, seconds):
        kinds = [self.write] * 6 + [self.write_fua] * 3 + [self.read] * 5 + [
            self.flush, self.discard, self.discard, self.zero_out, self.zero_range]
        if self.unmaps:
            kinds.append(self.punch)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            kind = self.source.choice(kinds)
            kind(*self.range())
            self.counts[kind.__name__] = self.counts.get(kind.__name__, 0) + 1
        for offset in range(0, self.size, 512 << 10):
            self.read(offset, min(512 << 10, self.size - offset))
        os.fdatasync(self.file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("device")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--cluster", type=int, default=65536)
    parser.add_argument("--expect")
    options = parser.parse_args()
    print(f"    model: seed {options.seed}", flush=True)
    model = Model(options.device, options.seed, options.cluster)
    model.run(options.seconds)
    if options.expect:
        with open(options.expect, "wb") as file:
            file.write(model.held)
    print(f"    model: blocks of {model.block}, " + ", ".join(f"{count} {kind}" for kind, count in sorted(model.counts.items())))


if __name__ == "__main__":
    main()
