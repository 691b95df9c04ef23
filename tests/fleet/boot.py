"""A recorded boot: what the disk looks like, and what was read of it, in order (boot-reads.txt says of what system)."""

import os
import random
import subprocess
from pathlib import Path

RECORD = Path(__file__).resolve().parent / "boot-reads.txt"
PIECE = 1 << 20


class Boot:
    """A record: the size of the disk, where it has data, and the reads."""

    def __init__(self, path=RECORD):
        self.size, self.data, self.reads = 0, [], []
        for line in path.read_text().splitlines():
            match line.split():
                case ["size", size]:
                    self.size = int(size)
                case ["data", offset, length]:
                    self.data.append((int(offset), int(length)))
                case ["read", offset, length]:
                    self.reads.append((int(offset), int(length)))
                case ["#", *_] | []:
                    pass
                case _:
                    raise ValueError(f"{path}: not a line of a record: {line}")

    @property
    def bytes_read(self):
        """Bytes of the disk that the boot reads, those that it reads twice once."""
        total, end = 0, 0
        for offset, length in sorted(self.reads):
            total += max(0, offset + length - max(offset, end))
            end = max(end, offset + length)
        return total

    def make(self, raw, image):
        """Makes a raw disk with data where the record has some, and the qcow2 image of it that qemu-img makes."""
        rng = random.Random(1)
        with open(raw, "wb") as file:
            file.truncate(self.size)
            for offset, length in self.data:
                file.seek(offset)
                for start in range(0, length, PIECE):
                    file.write(rng.randbytes(min(PIECE, length - start)))
        subprocess.run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, image], check=True)
        return os.path.getsize(image)
