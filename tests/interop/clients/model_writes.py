"""Random batches of writes, zeroes and discards through NBD, and the same into a raw file that is the model.

model_writes.py URI MODEL SEED BATCHES
"""
import random
import sys

import nbd

PARALLEL = 8


def spans(rng, size, count):
    """Disjoint ranges, small ones and large ones, aligned or not."""
    taken = []
    for _ in range(count):
        length = min(size, rng.choice([rng.randint(1, 4096), 4096, 65536, rng.randint(1, 300 * 1024)]))
        offset = rng.randint(0, size - length)
        if rng.random() < 0.5:
            offset -= offset % 4096
        if all(offset + length <= start or end <= offset for start, end in taken):
            taken.append((offset, offset + length))
    return taken


class Mirror:
    def __init__(self, uri, model, rng):
        self.client = nbd.NBD()
        self.client.connect_uri(uri)
        self.model = open(model, "r+b")
        self.size = self.client.get_size()
        self.rng = rng

    def batch(self):
        cookies = []
        discarded = []
        for offset, end in spans(self.rng, self.size, PARALLEL):
            kind = self.rng.choices(["write", "zero", "zero-hole", "trim"], [6, 1, 1, 1])[0]
            if kind == "trim":
                discarded.append((offset, end))
            cookies.append(self.submit(kind, offset, end - offset))
        for cookie in cookies:
            while not self.client.aio_command_completed(cookie):
                self.client.poll(-1)
        for offset, end in discarded:
            self.adopt_discard(offset, end)
        if self.rng.random() < 0.3:
            self.client.flush()

    def submit(self, kind, offset, length):
        if kind == "trim":
            return self.client.aio_trim(length, offset)
        data = self.rng.randbytes(length) if kind == "write" else bytes(length)
        self.model.seek(offset)
        self.model.write(data)
        if kind == "write":
            return self.client.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), offset)
        return self.client.aio_zero(length, offset, flags=nbd.CMD_FLAG_NO_HOLE if kind == "zero" else 0)

    def adopt_discard(self, offset, end):
        """A discard may do nothing, but must never show anything but zeroes or what was there."""
        now = self.client.pread(end - offset, offset)
        self.model.seek(offset)
        before = self.model.read(end - offset)
        for at, (byte, old) in enumerate(zip(now, before)):
            if byte not in (0, old):
                sys.exit(f"discard at {offset} +{end - offset} shows {byte} at {offset + at}, was {old}")
        self.model.seek(offset)
        self.model.write(now)

    def compare(self):
        step = 1 << 20
        self.model.seek(0)
        for offset in range(0, self.size, step):
            length = min(step, self.size - offset)
            wanted = self.model.read(length)
            got = self.client.pread(length, offset)
            if got != wanted:
                first = next(i for i in range(length) if got[i] != wanted[i])
                sys.exit(f"differs from the model at {offset + first}: {got[first]} instead of {wanted[first]}")


def main(uri, model, seed, batches):
    mirror = Mirror(uri, model, random.Random(int(seed)))
    for _ in range(int(batches)):
        mirror.batch()
    mirror.compare()
    mirror.client.flush()
    mirror.model.close()
    mirror.client.shutdown()


main(*sys.argv[1:])
