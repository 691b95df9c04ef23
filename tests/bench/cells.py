"""The cells of the benchmark: what is run, on which image, and which ratio to qemu-nbd is to be reached."""
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Cell:
    """One fio run against one server.

    image is a name of images.py; fresh images are made anew for each run. io_bytes bounds the run by work instead
    of time, where the work itself changes the image (allocation). Targets are ratios to the best qemu-nbd, or None.
    """
    name: str
    image: str
    rw: str
    block_size: int
    depth: int
    jobs: int = 1
    io_bytes: int = 0
    iops_target: float | None = None
    per_cpu_target: float | None = None

    @property
    def is_read(self):
        return "read" in self.rw


def _allocated():
    for rw in ("randread", "randwrite"):
        yield Cell(f"4k-{rw}-qd1", "full", rw, 4 * KIB, 1, iops_target=1.4)
        for depth in (16, 64):
            yield Cell(f"4k-{rw}-qd{depth}", "full", rw, 4 * KIB, depth, iops_target=1.9, per_cpu_target=2.2)
        yield Cell(f"64k-{rw}-qd16", "full", rw, 64 * KIB, 16, iops_target=1.4)
    for label, size in (("512k", 512 * KIB), ("1m", MIB), ("2m", 2 * MIB)):
        for rw in ("read", "write"):
            yield Cell(f"{label}-{rw}-qd16", "full", rw, size, 16, iops_target=1.6, per_cpu_target=2.0)
    for rw in ("randread", "randwrite"):
        yield Cell(f"4k-{rw}-qd16-2conn", "full", rw, 4 * KIB, 16, jobs=2, iops_target=2.5)


def _allocating():
    yield Cell("empty-4k-randwrite-qd16", "empty", "randwrite", 4 * KIB, 16, io_bytes=96 * MIB, iops_target=3.0)
    yield Cell("empty-1m-write-qd16", "empty", "write", MIB, 16, io_bytes=1024 * MIB, iops_target=1.6)


def _compressed():
    for kind in ("zlib", "zstd"):
        for rw in ("read", "randread"):
            yield Cell(f"{kind}-64k-{rw}-qd16", kind, rw, 64 * KIB, 16, iops_target=2.0)


def _features():
    """What the format has beyond plain clusters: no target of its own, but the plain cells say what it costs."""
    for kind in ("luks", "extended", "data-file"):
        for rw in ("randread", "randwrite"):
            yield Cell(f"{kind}-4k-{rw}-qd16", kind, rw, 4 * KIB, 16)
        for rw in ("read", "write"):
            yield Cell(f"{kind}-1m-{rw}-qd16", kind, rw, MIB, 16)


ALL = [*_allocated(), *_allocating(), *_compressed(), *_features()]


def select(patterns):
    """Cells whose name is one of the patterns, or matches one with shell wildcards; all without patterns."""
    from fnmatch import fnmatchcase
    if not patterns:
        return ALL
    chosen = [cell for cell in ALL if any(fnmatchcase(cell.name, pattern) for pattern in patterns)]
    for pattern in patterns:
        if not any(fnmatchcase(cell.name, pattern) for cell in ALL):
            raise SystemExit(f"bench: no cell matches \"{pattern}\" (see --list)")
    return chosen
