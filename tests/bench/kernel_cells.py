"""The cells of `make bench-kernel` and the servers that are measured in each."""
from dataclasses import dataclass
from fnmatch import fnmatchcase

KIB, MIB = 1024, 1024 * 1024
PER_CPU_TARGET = 2.0
NBD_TARGET = 1.3


@dataclass(frozen=True)
class Cell:
    """One fio run on one block device. image: "full", every cluster allocated and written, or "empty", made anew for each run.

    io_bytes bounds a run by work instead of time where the work itself changes the image. The target is the ratio of I/O per
    second, ours on ublk to the rival's, or None.
    """
    name: str
    image: str
    rw: str
    block_size: int
    target: float | None
    io_bytes: int = 0


def _all():
    targets = {("4k", "read"): 1.9, ("4k", "write"): 3.2}
    for label, size in (("4k", 4 * KIB), ("64k", 64 * KIB), ("512k", 512 * KIB), ("1m", MIB), ("2m", 2 * MIB)):
        for rw in ("read", "write"):
            yield Cell(f"{label}-{rw}", "full", rw, size, targets.get((label, rw), 1.3))
    yield Cell("4k-randread", "full", "randread", 4 * KIB, 3.5)
    yield Cell("4k-randwrite", "full", "randwrite", 4 * KIB, 4.5)
    yield Cell("empty-4k-randread", "empty", "randread", 4 * KIB, None)
    yield Cell("empty-4k-randwrite", "empty", "randwrite", 4 * KIB, 3.0, io_bytes=32 * MIB)


ALL = list(_all())


def select(patterns):
    """Cells whose name matches one of the patterns; all without patterns."""
    for pattern in patterns or ():
        if not any(fnmatchcase(cell.name, pattern) for cell in ALL):
            raise SystemExit(f"bench: no cell matches \"{pattern}\" (there are {', '.join(cell.name for cell in ALL)})")
    return [cell for cell in ALL if not patterns or any(fnmatchcase(cell.name, pattern) for pattern in patterns)]


def _ours(name, *options, kind="ours"):
    return {"name": name, "kind": kind, "options": list(options)}


# With user-copy nobody copies anything: not the server, and not the kernel either.
CEILING = _ours("null", "--transport", "ublk", "--ublk-mode", "user-copy", "--null-io", kind="null")
# A device of the kernel's own that does nothing: what is left is fio and the block layer.
CLIENT = {"name": "no server", "kind": "kernel", "options": ["queue_mode=2", "irqmode=1", "gb=1"]}
RIVALS = [{"name": f"qemu-nbd {aio}", "kind": "qemu", "options": [f"--aio={aio}", "--cache=none"]} for aio in ("native", "io_uring")]
MODES = ("map", "user-copy", "zero-copy")


def subjects(modes, transports):
    """What is measured, in the order of a round: ours stand between the rivals."""
    ours = [_ours(f"ublk {mode}", "--transport", "ublk", "--ublk-mode", mode) for mode in modes]
    if not modes and "ublk" in transports:
        ours.append(_ours("ublk", "--transport", "ublk"))
    if "nbd" in transports:
        ours.append(_ours("nbd", "--transport", "nbd"))
    return [RIVALS[0], *ours, RIVALS[1], CEILING, CLIENT]


def command(subject):
    """The command line of a server, for people."""
    options = " ".join(subject["options"])
    if subject["kind"] == "kernel":
        return f"modprobe null_blk {options}"
    return f"qemu-nbd -c /dev/nbdN {options} IMAGE" if subject["kind"] == "qemu" else f"qcow2blk attach IMAGE {options}"
