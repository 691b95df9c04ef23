"""The load of the power cut cases: writers that sync, and afterwards what each sector may hold.

Every batch of a writer follows from (seed, writer, number of the batch), so the machine that looks at the disk after
the cut knows what was written from the numbers of the batches alone.
In the guest: sync_load.py DEVICE SIZE prints "prepared", reads the seed from its input, then prints "synced WRITER BATCH"
whenever the fdatasync after a batch returned.
"""

import ctypes
import mmap
import os
import random
import struct
import sys
import threading
import zlib

SECTOR = 512
WRITERS = 4
BLOCK = 4096
BLKZEROOUT = 0x127F
HEADER = struct.Struct("<8sIIIQI")  # magic, seed, writer, batch, offset, checksum of what precedes it
MAGIC = b"qcow2cut"


def batch_of(size, seed, writer, batch):
    """The operations of a batch: (offset, length, whether it writes zeroes). Writers have regions of their own."""
    source = random.Random(f"{seed}/{writer}/{batch}")
    region = size // WRITERS // BLOCK
    operations = []
    for _ in range(source.randint(1, 6)):
        blocks = source.choice((1, 1, 1, 2, 8, 40))
        first = source.randrange(region - blocks)
        operations.append(((writer * region + first) * BLOCK, blocks * BLOCK, source.random() < 0.15))
    return operations


def sector(seed, writer, batch, offset):
    head = HEADER.pack(MAGIC, seed, writer, batch, offset, 0)
    return (HEADER.pack(MAGIC, seed, writer, batch, offset, zlib.crc32(head)) * (SECTOR // HEADER.size + 1))[:SECTOR]


def batch_in(data, offset):
    """The batch whose data a sector holds; 0 if it is all zeroes. Raises ValueError if it holds anything else."""
    if not any(data):
        return 0
    magic, seed, writer, batch, at, _ = HEADER.unpack_from(data)
    if magic != MAGIC or at != offset or data != sector(seed, writer, batch, offset):
        raise ValueError(f"sector at {offset} holds no data of ours: {data[:32].hex()}")
    return batch


def allowed_after(size, seed, synced, ahead):
    """sector offset -> [(batch, is zero)...]: what it may hold when `synced[writer]` batches were synced and up to `ahead`
    more had begun. Sectors that were never written are missing: they hold zeroes."""
    allowed = {}
    for writer in range(WRITERS):
        for batch in range(1, synced[writer] + ahead + 1):
            certain = batch <= synced[writer]
            for offset, length, zero in batch_of(size, seed, writer, batch):
                for place in range(offset, offset + length, SECTOR):
                    value = 0 if zero else batch
                    allowed[place] = {value} if certain else allowed.get(place, {0}) | {value}
    return allowed


def _write(device, size, seed, writer, output):
    file = os.open(device, os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 40 * BLOCK)
    libc = ctypes.CDLL(None, use_errno=True)
    batch = 0
    while True:
        batch += 1
        for offset, length, zero in batch_of(size, seed, writer, batch):
            if zero:
                if libc.ioctl(file, BLKZEROOUT, struct.pack("QQ", offset, length)):
                    raise OSError(ctypes.get_errno(), "BLKZEROOUT")
                continue
            for place in range(0, length, SECTOR):
                buffer[place:place + SECTOR] = sector(seed, writer, batch, offset + place)
            with memoryview(buffer)[:length] as data:
                if os.pwrite(file, data, offset) != length:
                    raise OSError("short write")
        os.fdatasync(file)
        os.write(output, f"synced {writer} {batch}\n".encode())


def main():
    device, size = sys.argv[1], int(sys.argv[2])
    print("prepared", flush=True)
    seed = int(sys.stdin.readline())

    def run(writer):
        try:
            _write(device, size, seed, writer, 1)
        except BaseException as error:
            os.write(1, f"load failed: {error!r}\n".encode())
    threads = [threading.Thread(target=run, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
